"""A fleet under load for an hour: nothing is lost, and nothing grows."""
