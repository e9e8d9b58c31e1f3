"""Notes that git keeps beside a worktree are in the agents' hands too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.workspaces.work import LOCKED_TO_MAKE, _lock_reason


def test_the_reason_of_a_lock_is_read_and_agentds_own_is_none(tmp_path: Path) -> None:
    assert _lock_reason(tmp_path) is None
    (tmp_path / "locked").write_text("on a stick\n")
    assert _lock_reason(tmp_path) == "on a stick"
    (tmp_path / "locked").write_text(LOCKED_TO_MAKE)
    assert _lock_reason(tmp_path) is None


@pytest.mark.timeout(10)
def test_a_fifo_in_the_place_of_a_lock_keeps_nobody_waiting_and_counts_as_locked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "locked")
    assert "not a regular file" in str(_lock_reason(tmp_path))
