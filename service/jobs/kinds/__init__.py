"""What each kind of job does, in the child process."""
