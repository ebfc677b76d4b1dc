"""Learning rules, one a file, each in closed form."""
