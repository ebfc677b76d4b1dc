"""Benchmarks of a fleet: one part a file."""
