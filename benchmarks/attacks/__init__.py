"""What a client with a key and a calibration feel while a stranger attacks the service."""
