"""The only place with queries, one file a family of resources."""
