"""Names of the sockets and folders that stand beside those of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_RUNTIME: Final = ".runs"
_TURNS: Final = ".turns"
_FLEET: Final = ".fleet"


def runtime_directory(tmux_socket: Path) -> Path:
    """Give the runtime directory, which stands beside the tmux socket."""
    return tmux_socket.with_name(tmux_socket.name + _RUNTIME)


def turns_socket(api_socket: Path) -> Path:
    """Give the socket where hooks and those who talk to agents connect; a fleet's is one socket for all."""
    if api_socket.name.endswith(_FLEET):
        return api_socket
    return api_socket.with_name(api_socket.name + _TURNS)


def fleet_socket(api_socket: Path) -> Path:
    """Give the socket where agentd-fleet, beside that agentd, is asked about all hosts."""
    return api_socket.with_name(api_socket.name + _FLEET)
