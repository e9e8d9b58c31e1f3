"""Which git repository a path is in, as far as its folders tell."""

from __future__ import annotations

import os
from pathlib import Path


def git_root(path: Path) -> str | None:
    """Give the root of the repository, or of the worktree, that a path is in; ``None`` if it is in none."""
    real = Path(os.path.realpath(path))
    return next((str(each) for each in (real, *real.parents) if os.path.lexists(each / ".git")), None)
