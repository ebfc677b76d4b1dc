"""What the fields of bodies and parameters mean, and their units, for the OpenAPI document."""
