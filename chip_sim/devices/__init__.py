"""Memory devices: how a cell is programmed, drifts and is read."""
