"""Storage in SQL: the tables, and repositories that hold every query."""
