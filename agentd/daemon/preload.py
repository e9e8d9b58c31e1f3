"""Reads and imports whatever the daemon may come to need, before it is ready."""

from __future__ import annotations

from agentd.settings.late import import_late
from agentd.workspaces.roles import built_in


def preload() -> None:
    """Import all that may be needed, and read the templates of roles."""
    import_late()
    built_in()
