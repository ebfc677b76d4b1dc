"""Jobs: when they run, who drives the chip, and what each kind does."""
