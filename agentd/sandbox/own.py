"""What is agentd's by its settings: no sandboxed agent sees it."""

from __future__ import annotations

from pathlib import Path

from agentd.sandbox.compose import Own
from agentd.settings.settings import Settings
from agentd.settings.sockets import runtime_directory, turns_socket


def runtime_path(settings: Settings) -> Path:
    """Where the runtime directory is."""
    return runtime_directory(settings.tmux_socket)


def own_of(settings: Settings, data_dir: Path) -> Own:
    """What no sandboxed agent sees."""
    runsc = [path for path in (settings.runsc.state_dir, settings.runsc.bundle_dir) if path is not None]
    folders = (settings.state_dir, runtime_path(settings), settings.secret_dir, data_dir, *runsc)
    sockets = (settings.tmux_socket, settings.api_socket, turns_socket(settings.api_socket))
    entries = (settings.config, settings.config_dir, *sockets)
    return Own(folders, entries, data_dir, runtime_path(settings))
