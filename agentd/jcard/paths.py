"""Paths as a jcard writes them."""

from __future__ import annotations

import os.path
from pathlib import Path

from agentd.model.spec import LoadContext


def resolve(path: str, context: LoadContext) -> Path:
    """Make a path of a file absolute and free of ``.`` and ``..`` without following symlinks."""
    if path == "~" or path.startswith("~/"):
        path = f"{context.home}/{path[1:]}"
    # normpath keeps two leading slashes, which POSIX allows.
    return Path("/" + os.path.normpath(context.folder / path).lstrip("/"))
