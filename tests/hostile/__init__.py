"""What a stranger, a user or an agent with bad intentions sends; each guard has a control."""
