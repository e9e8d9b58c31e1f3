"""Limits of the system that several modules need."""

from __future__ import annotations

SOCKET_MODE = 0o770
"""Mode of tmux's socket: for the agents' user and the admin group."""

API_SOCKET_MODE = 0o660
"""Mode of the API's socket: for agentd's user and the admin group."""

OLDEST_TMUX = (3, 2)
"""Oldest supported version of tmux."""
