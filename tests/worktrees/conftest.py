from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worktrees.repositories import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A repository and a folder of worktrees."""
    folder = tmp_path / "w"
    folder.mkdir()
    world = World(folder)
    yield world
    world.close()
