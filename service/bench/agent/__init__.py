"""The agent of a chip: a process that serves one chip to jobs over HTTP."""
