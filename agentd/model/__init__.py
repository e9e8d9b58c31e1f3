"""Frozen values that all programs share: declared agents, their states, events, status and user."""
