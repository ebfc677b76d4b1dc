"""How the service and the agent beside a chip talk: verbs, frames, and faults."""
