"""Storage in SQL: tables, and the repositories that hold every query."""
