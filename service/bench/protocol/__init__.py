"""What agent and driver send each other: verbs, messages, frames, and errors."""
