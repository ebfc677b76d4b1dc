"""What requests cost one process of the service, with 10,000 chips and 100,000 jobs."""
