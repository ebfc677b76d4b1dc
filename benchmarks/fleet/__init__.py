"""What a fleet can do, measured: one part a file."""
