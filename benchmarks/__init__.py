"""Benchmarks, one a module: python -m benchmarks.NAME [--json FILE] [--quick] [--check]."""
