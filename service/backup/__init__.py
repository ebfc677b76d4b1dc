"""A copy of everything that an installation keeps, and the way back."""
