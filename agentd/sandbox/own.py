"""What is agentd's by its settings: no sandboxed agent sees it."""

from __future__ import annotations

from pathlib import Path

from agentd.sandbox.compose import Own
from agentd.settings.settings import Settings

RUNTIME_SUFFIX = ".runs"
"""What the runtime directory is called, after the tmux socket it stands beside."""


def runtime_path(settings: Settings) -> Path:
    """Where the runtime directory is."""
    return settings.tmux_socket.with_name(settings.tmux_socket.name + RUNTIME_SUFFIX)


def own_of(settings: Settings, data_dir: Path) -> Own:
    """What no sandboxed agent sees."""
    runsc = [path for path in (settings.runsc.state_dir, settings.runsc.bundle_dir) if path is not None]
    folders = (settings.state_dir, runtime_path(settings), settings.secret_dir, data_dir, *runsc)
    entries = (settings.config, settings.config_dir, settings.tmux_socket, settings.api_socket)
    return Own(folders, entries, data_dir, runtime_path(settings))
