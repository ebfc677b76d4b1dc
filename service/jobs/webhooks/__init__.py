"""Webhooks: events sent to receivers, signed, one after the other, until they arrive."""
