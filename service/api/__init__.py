"""HTTP: one router a resource, one table from error to status."""
