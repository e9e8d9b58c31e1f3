"""What users may do by permission bits: held against the kernel, for owners, groups and supplementary groups."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.files.permissions import may_change, may_enter, may_execute, may_fill, may_read
from agentd.model.user import AgentUser

RULES = (may_change, may_enter, may_execute, may_fill, may_read)
MODES = (0o000, 0o100, 0o010, 0o001, 0o070, 0o007, 0o607, 0o671, 0o750, 0o706, 0o777)
UID, GID, SUPPLEMENTARY, STRANGE = 12345, 12346, 23456, 34567


def user(uid: int, gid: int, groups: tuple[int, ...] = ()) -> AgentUser:
    return AgentUser("agent", uid, gid, groups, Path("/"), "/bin/sh", switch=True)


def found(mode: int, owner: int, group: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))


@given(st.integers(0, 0o777), st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2]), st.sampled_from(RULES))
def test_a_supplementary_group_counts_like_the_own_one(
    mode: int, owner: int, group: int, rule: Callable[[AgentUser, os.stat_result], bool]
) -> None:
    status = found(mode, owner, group)
    assert rule(user(1, 2), status) is rule(user(1, 3, (4, 2)), status)


@given(st.integers(0, 0o777), st.sampled_from(RULES))
def test_a_class_that_fits_decides_though_the_next_would_allow_more(
    mode: int, rule: Callable[[AgentUser, os.stat_result], bool]
) -> None:
    mine = rule(user(1, 2), found(mode & 0o700, 1, 2))
    assert rule(user(1, 2), found(mode, 1, 2)) is mine
    theirs = rule(user(1, 2, (5,)), found(mode & 0o770, 0, 5))
    assert rule(user(1, 2, (5,)), found(mode, 0, 5)) is theirs


@pytest.mark.parametrize("owner", [0, UID])
@pytest.mark.parametrize("group", [GID, SUPPLEMENTARY, STRANGE])
def test_folders_are_as_the_kernel_says(short_folder: Path, owner: int, group: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    agent = user(UID, GID, (GID, SUPPLEMENTARY))
    short_folder.chmod(0o711)
    short_folder.parent.chmod(0o711)
    folders = []
    for mode in MODES:
        folder = short_folder / f"{mode:03o}"
        folder.mkdir()
        os.chown(folder, owner, group)
        folder.chmod(mode)
        folders.append(folder)
    script = """for each; do
        may() { if "$@" 2>/dev/null; then printf 1; else printf 0; fi; }
        may test -r "$each"; may test -x "$each"; may test -w "$each" -a -x "$each"; echo
    done"""
    answers = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *folders],
        user=agent.uid, group=agent.gid, extra_groups=agent.groups, cwd="/", check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    rules = (may_read, may_enter, may_fill)
    assert answers == ["".join(str(int(rule(agent, each.stat()))) for rule in rules) for each in folders]
