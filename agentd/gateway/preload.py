"""Reads and imports whatever the gateway may come to need, before it is ready."""

from __future__ import annotations

from agentd.gateway.http.docs import read_docs
from agentd.gateway.page.files import static_files
from agentd.settings.late import import_late
from agentd.workspaces.roles import built_in


def preload() -> None:
    """Do it: 50 ms of CPU and 5 MB."""
    import_late()
    static_files()
    read_docs()
    built_in()
