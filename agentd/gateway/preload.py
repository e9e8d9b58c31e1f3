"""Imports and reads whatever the gateway may come to need, before it is ready.

An upgrade may take the package away under it, or put another version in its place.
"""

from __future__ import annotations

from importlib import import_module

from agentd.gateway.http.docs import read_docs
from agentd.gateway.page.files import static_files
from agentd.workspaces.roles import built_in

_MODULES = (
    # Imported in functions, because agentctl starts faster without.
    "agentd.text.durations",
    "agentd.text.sizes",
    "pwd",
    "tomlkit",
    "tomlkit.exceptions",
)
"""What is imported by nothing that the gateway imports at its start; what brokers need is, with their channels."""


def preload() -> None:
    """Do it: 50 ms of CPU and 5 MB."""
    for name in _MODULES:
        import_module(name)
    static_files()
    read_docs()
    built_in()
