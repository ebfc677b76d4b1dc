"""The HTTP interface: one router a resource, and one table from error to status."""
