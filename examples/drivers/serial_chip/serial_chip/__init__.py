"""A driver as a lab writes it, and the firmware of the chip that it drives."""
