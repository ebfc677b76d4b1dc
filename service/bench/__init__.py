"""How a job reaches a chip: in this process, or behind an agent on another machine."""
