"""Asking agentd, by its API and by its socket for turns."""
