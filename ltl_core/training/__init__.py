"""Training of a student in software."""
