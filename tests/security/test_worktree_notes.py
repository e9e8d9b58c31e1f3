"""Notes that git keeps beside a worktree are in the agents' hands too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.model.user import AgentUser
from agentd.worktrees.inspect import CREATION_LOCK, _lock_reason
from tests.security.users import STRANGER, account


def test_the_reason_of_a_lock_is_read_and_agentds_own_is_none(tmp_path: Path) -> None:
    assert _lock_reason(tmp_path, None) is None
    (tmp_path / "locked").write_text("on a stick\n")
    assert _lock_reason(tmp_path, None) == "on a stick"
    (tmp_path / "locked").write_text(CREATION_LOCK)
    assert _lock_reason(tmp_path, None) is None


def test_a_link_in_the_place_of_a_lock_makes_root_tell_nothing(short_folder: Path) -> None:
    user = account(STRANGER)
    reader = AgentUser(STRANGER, user.pw_uid, user.pw_gid, (), short_folder, "/bin/sh", switch=True)
    secret = short_folder / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    own = short_folder / "own"
    own.mkdir()
    os.chown(own, user.pw_uid, user.pw_gid)
    (own / "locked").symlink_to(secret)
    found = str(_lock_reason(own, reader))
    assert "may not read" in found
    assert "of root" not in found


@pytest.mark.timeout(10)
def test_a_fifo_in_the_place_of_a_lock_keeps_nobody_waiting_and_counts_as_locked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "locked")
    assert "not a regular file" in str(_lock_reason(tmp_path, None))
