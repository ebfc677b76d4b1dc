"""Each prints a table; `python -m benchmarks.NAME [--json FILE] [--quick] [--check]`."""
