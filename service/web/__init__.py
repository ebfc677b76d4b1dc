"""Pages for people: server-rendered, alive without a build step."""
