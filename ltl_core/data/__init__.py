"""Readers of the data sets of the literature: bytes become samples; opening files is for others."""
