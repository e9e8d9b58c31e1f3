"""OpenCode, by the server that it is itself."""
