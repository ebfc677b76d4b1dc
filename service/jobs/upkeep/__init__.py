"""What keeps a fleet in order unasked: planning, retention, and files nobody refers to."""
