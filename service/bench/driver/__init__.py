"""The driver of a chip behind an agent: the port, spoken over HTTP."""
