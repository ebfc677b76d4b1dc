"""Pieces of the job engine, each beside a database and without a child process."""
