"""Tests of the HTTP API that need no application."""
