"""Talking to agentd: its API, its turns, its declarations."""
