"""The agent: a process that serves one chip over HTTP."""
