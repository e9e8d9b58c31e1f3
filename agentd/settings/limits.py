"""Limits of the system that more than one place must know."""

from __future__ import annotations

SOCKET_MODE = 0o770
"""Of tmux' socket: for the agent user and the admin group."""

API_SOCKET_MODE = 0o660
"""Of the API's socket: for agentd's user and the admin group."""

OLDEST_TMUX = (3, 2)
"""Its version."""
