"""What plots of all pages share."""
