"""The pages of teachers and students."""
