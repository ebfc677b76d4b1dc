"""One attempt at a job, on the side of the parent process."""
