"""The driver of a chip behind an agent: the port over HTTP."""
