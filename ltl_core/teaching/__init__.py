"""What the teacher asks of every layer: readouts, targets, and the checks of what arrives."""
