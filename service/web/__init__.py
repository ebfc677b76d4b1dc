"""Web pages, rendered by the server, with one small script and no build step."""
