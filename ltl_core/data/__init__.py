"""Readers of published data sets: they turn bytes into samples. Callers open the files."""
