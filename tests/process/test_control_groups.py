"""Groups of runs: what is written for a limit, who is in them, and when the kernel tells of a kill."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agentd.limits import ways
from agentd.limits.held_run import HeldRun
from agentd.limits.ways import Groups, Surroundings, apply, legacy_groups, unified_groups
from agentd.model.limits import Enforcer, Limits
from agentd.process.cgroups.group import Group, LimitError
from agentd.process.cgroups.hierarchies import UNIFIED, Mount, folders_of, mounts, paths_of
from agentd.process.cgroups.oom import OomWatch
from agentd.process.reaper import ProcessTree, Reaper
from tests.support.waiting import wait_for

RUN = f"{os.getpid()}-groups"

STORM = """import os, signal
while True:
    if os.fork(): os._exit(0)
"""
"""A process that is another one at every look."""

HIDE = "exec setsid sh -c 'sleep 600 & exec sleep 600'"


@pytest.fixture
def unified() -> Iterator[Path]:
    """A group of version 2, perhaps without controllers."""
    mount = mounts(Path("/proc/self/mountinfo")).get(UNIFIED)
    own = folders_of(mounts(Path("/proc/self/mountinfo")), paths_of(Path("/proc/self/cgroup"))).get(UNIFIED)
    if mount is None or own is None or not os.access(own, os.W_OK):
        pytest.skip("needs a control group of version 2 that may be written")
    folder = own / f"agentd-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    group = Group({UNIFIED: folder})
    yield folder
    group.kill()
    wait_for(lambda: not group.members(), what="all in the group have ended")
    wait_for(lambda: _removed(group), what="the group is removed")


def _removed(group: Group) -> bool:
    with suppress(OSError):
        group.remove()
    return not group.folders[UNIFIED].exists()


def started_in(group: Group, argv: list[str]) -> subprocess.Popen[bytes]:
    """Start a program with an empty environment that waits to be moved, as a run does."""
    waiting = ["/bin/sh", "-c", 'read -r _; exec "$@"', "run", *argv]
    process = subprocess.Popen(waiting, env={}, stdin=subprocess.PIPE)
    group.join(process.pid)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    return process


async def test_what_shows_nothing_but_its_group_is_found_and_ended(unified: Path) -> None:
    group = Group({UNIFIED: unified / RUN})
    group.make()
    process = started_in(group, ["/bin/sh", "-c", HIDE])
    wait_for(lambda: len(group.members()) == 2, what="it has started another")
    process.kill()
    process.wait()
    [hidden] = group.members()
    # Nobody finds it otherwise.
    assert await Reaper(limit=1.0).end(ProcessTree(RUN, None)) == set()
    assert psutil.pid_exists(hidden)
    assert await Reaper(limit=5.0, groups={RUN: group}.get).end(ProcessTree(RUN, None)) == set()
    assert group.members() == set()


async def test_a_fork_storm_in_a_group_is_ended_at_once(unified: Path, tmp_path: Path) -> None:
    group = Group({UNIFIED: unified / RUN})
    group.make()
    (tmp_path / "storm.py").write_text(STORM)
    process = started_in(group, [sys.executable, "-I", "-S", str(tmp_path / "storm.py")])
    process.wait()
    assert await Reaper(limit=5.0, groups={RUN: group}.get).end(ProcessTree(RUN, None)) == set()
    assert group.members() == set()


async def test_a_group_that_holds_agentd_is_not_killed_as_a_whole(unified: Path) -> None:
    group = Group({UNIFIED: unified / RUN})
    group.make()
    process = started_in(group, ["sleep", "600"])
    server = started_in(group, ["sleep", "600"])
    reaper = Reaper(limit=5.0, groups={RUN: group}.get)
    reaper.server = server.pid
    assert await reaper.end(ProcessTree(RUN, None)) == set()
    assert process.wait() != 0
    assert server.poll() is None
    server.kill()
    server.wait()


@pytest.fixture
def controller(unified: Path) -> Iterator[str]:
    """Any controller, for what is the same with all: in version 2 here there may be none of those that limits need."""
    enabled, above = unified / "cgroup.controllers", unified.parent / "cgroup.subtree_control"
    there = enabled.read_text().split()
    if there:
        yield there[0]
        return
    for name in (unified.parent / "cgroup.controllers").read_text().split():
        with suppress(OSError):
            above.write_text(f"+{name}")
            yield name
            below = ("agentd", "")
            for each in below:
                (unified / each / "cgroup.subtree_control").write_text(f"-{name}")
            above.write_text(f"-{name}")
            return
    pytest.skip("there is no controller to enable")


def test_a_group_in_use_is_made_ready_and_then_limits_others(
    unified: Path, controller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_NEEDED", (controller,))
    process = started_in(Group({UNIFIED: unified}), ["sleep", "600"])
    base = Groups(Enforcer.UNIFIED, {UNIFIED: unified / "agentd"}, above=unified)
    base.make_ready()
    assert not base.lacks
    assert (unified / "agentd/cgroup.subtree_control").read_text().split() == [controller]
    assert (unified / "agentd-daemon/cgroup.procs").read_text().split() == [str(process.pid)]
    base.of(RUN).make()
    assert base.runs() == {RUN}
    # A later agentd, which was started in the leaf, uses the same groups.
    around = Surroundings({UNIFIED: Mount(unified, "/")}, {UNIFIED: "/agentd-daemon"})
    found = unified_groups(around, booted=False)
    assert isinstance(found, Groups)
    assert found.bases == base.bases
    process.kill()
    process.wait()


def test_a_controller_that_cannot_be_enabled_is_said(unified: Path) -> None:
    base = Groups(Enforcer.UNIFIED, {UNIFIED: unified / "agentd"}, above=unified)
    base.make_ready()
    missing = {"memory", "pids", "cpu"} - set((unified / "cgroup.controllers").read_text().split())
    assert ("memory" in base.lacks) == ("memory" in missing)
    assert all("cannot be enabled" in reason for reason in base.lacks.values())


# -- what is written


def kernel(folder: Path, **files: str) -> Path:
    """A folder that takes what is written as the kernel does."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_version_2_is_told_in_its_own_words(tmp_path: Path) -> None:
    files = {
        "memory__max": "max",
        "memory__high": "max",
        "memory__swap__max": "max",
        "pids__max": "max",
        "cpu__max": "",
    }
    group = Group({UNIFIED: kernel(tmp_path / "run", **files)})
    assert apply(group, Limits(memory=1 << 30, memory_high=1 << 29, pid_limit=7, cpu=1.5), everything=False) == {}

    def found() -> Mapping[str, str]:
        return {file.name: file.read_text() for file in (tmp_path / "run").iterdir()}

    assert found() == {
        "memory.max": str(1 << 30),
        "memory.high": str(1 << 29),
        "memory.swap.max": "0",
        "pids.max": "7",
        "cpu.max": "150000 100000",
    }
    assert apply(group, Limits(pid_limit=8), everything=True) == {}
    assert found() == {
        "memory.max": "max",
        "memory.high": "max",
        "memory.swap.max": "max",
        "pids.max": "8",
        "cpu.max": "max 100000",
    }


def test_a_limit_that_the_kernel_did_not_take_is_said(tmp_path: Path) -> None:
    group = Group({UNIFIED: kernel(tmp_path / "run", pids__max="9")})
    with pytest.raises(LimitError, match=r"expected 7 in .*, found 9"):
        group.check("pid_limit", 7)
    with pytest.raises(LimitError, match="the controller memory is missing: it is not enabled for"):
        group.limit("memory", 1 << 20)
    of_1 = Group({"memory": kernel(tmp_path / "of-1", memory__limit_in_bytes="0")})
    with pytest.raises(LimitError, match=r"version 1 have no memory\.high"):
        of_1.limit("memory_high", 1 << 20)


def around(folder: Path, own: str = "/") -> Surroundings:
    return Surroundings({UNIFIED: Mount(folder, "/")}, {UNIFIED: own})


def test_only_a_group_that_is_delegated_is_used(tmp_path: Path) -> None:
    root = kernel(tmp_path / "root", cgroup__procs="", cgroup__subtree_control="", cgroup__controllers="io memory pids")
    found = unified_groups(around(root), booted=False)
    assert isinstance(found, Groups)
    assert (found.bases, list(found.lacks)) == ({UNIFIED: root / "agentd"}, ["cpu"])
    assert "is systemd's: it is not delegated" in str(unified_groups(around(root), booted=True))
    kernel(root, cgroup__controllers="hugetlb")
    assert "has none of the controllers memory, pids, cpu" in str(unified_groups(around(root), booted=False))
    assert "not delegated" in str(unified_groups(around(root, "/elsewhere"), booted=False))
    assert "not mounted" in str(unified_groups(Surroundings({}, {}), booted=False))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes groups of version 1")
def test_version_1_is_used_as_far_as_its_controllers_are_there(tmp_path: Path) -> None:
    found = legacy_groups(Surroundings({"pids": Mount(tmp_path, "/")}, {"pids": "/"}))
    assert isinstance(found, Groups)
    assert (found.bases, set(found.lacks)) == ({"pids": tmp_path / "agentd"}, {"memory", "memory_high", "cpu"})
    assert "no control groups of version 1" in str(legacy_groups(Surroundings({}, {})))


# -- what the kernel tells


async def test_a_change_of_memory_events_is_told_at_once_and_once(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    watch = OomWatch(told.put_nowait)
    groups = {name: Group({UNIFIED: kernel(tmp_path / name, memory__events="oom_kill 0\n")}) for name in "ab"}
    for name, group in groups.items():
        assert watch.add(name, group)
    (tmp_path / "b/memory.events").write_text("low 0\noom_kill 2\n")
    assert await asyncio.wait_for(told.get(), 30) == "b"
    assert groups["b"].oom_kills() == 2
    watch.discard("b")
    (tmp_path / "b/memory.events").write_text("oom_kill 3\n")
    (tmp_path / "a/memory.events").write_text("oom_kill 1\n")
    assert await asyncio.wait_for(told.get(), 30) == "a"
    watch.close()


def test_a_kill_that_took_its_scope_along_is_known_by_the_slice(tmp_path: Path) -> None:
    above = kernel(tmp_path / "agentd.slice", memory__events="oom_kill 5\n")
    scopes = [kernel(above / f"{name}.scope", memory__events="oom_kill 0\n") for name in "abc"]
    a, b, c = (HeldRun(Enforcer.SYSTEMD, Group({UNIFIED: scope})) for scope in scopes)
    for run in (a, b, c):
        run.began(0)
    # One of the first's children was killed, and told of.
    kernel(above, memory__events="oom_kill 6\n")
    kernel(scopes[0], memory__events="oom_kill 1\n")
    assert a.count()
    # The second was killed, and its scope is gone; the third was ended by somebody else.
    kernel(above, memory__events="oom_kill 7\n")
    for scope in scopes[1:]:
        (scope / "memory.events").unlink()
        scope.rmdir()
    assert not b.count()
    b.count_gone(counted=1)
    c.count_gone(counted=2)
    assert (a.oom_kills, b.oom_kills, c.oom_kills) == (1, 1, 0)


def test_a_group_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    group = Group({UNIFIED: tmp_path / "gone", "memory": tmp_path / "gone"})
    assert (group.members(), group.oom_kills(), group.peak_files()) == (set(), None, {})
    group.remove()
