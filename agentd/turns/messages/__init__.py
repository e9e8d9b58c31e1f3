"""Messages to agents: queued, delivered once, and followed to the end of their turns."""
