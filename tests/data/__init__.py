"""Small files that tests load instead of training, each beside the script that made it."""
