"""The page of one chip."""
