"""How a job reaches a chip."""
