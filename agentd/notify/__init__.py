"""Tell people and programs what happens to agents: by a command, or by a webhook."""
