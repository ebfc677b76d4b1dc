"""Backup of an installation, database and artifacts, and restoring it."""
