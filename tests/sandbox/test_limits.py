"""A sandboxed agent outgrows neither its memory nor its processes. Each attempt has a bound of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.limits.conftest import can_limit
from tests.sandbox.conftest import PYTHON, Sandboxed
from tests.support.agents import jcard
from tests.support.control_groups import control_groups

pytestmark = pytest.mark.skipif(
    not can_limit("memory", "pid_limit"), reason="needs root and control groups of memory and processes"
)

EATER = """
import json, os, subprocess, sys
limit = int(sys.argv[1])
def group(name):
    for line in open("/proc/self/cgroup"):
        _, names, path = line.rstrip().split(":", 2)
        if name in names.split(","):
            return path
json.dump({name: group(name) for name in ("memory", "pids")}, open("groups.part", "w"))
os.rename("groups.part", "groups.json")
input()
kept = []
for step in range(2 * limit // (1 << 20)):
    kept.append(b"x" * (1 << 20))
open("survived", "w")
"""

FORKER = """
import os, sys
children = []
try:
    for _ in range(int(sys.argv[1]) * 2):
        pid = os.fork()
        if pid == 0:
            os.pause() if hasattr(os, "pause") else __import__("signal").pause()
        children.append(pid)
except BlockingIOError:
    pass
open("forked.part", "w").write(str(len(children)))
os.rename("forked.part", "forked")
for pid in children:
    os.kill(pid, 9)
__import__("time").sleep(600)
"""


def test_memory_is_held(sandboxed: Sandboxed) -> None:
    daemon, limit = sandboxed.daemon, 64 << 20
    (daemon.workdir / "eater.py").write_text(EATER)
    command = [PYTHON, "-I", "-S", "eater.py", str(limit)]
    sandboxed.start(jcard({"name": "a", "type": "sandboxed", "command": command, "workdir": "work", "memory": "64MiB"}))
    listed = daemon.workdir / "groups.json"
    daemon.wait_for(lambda: listed.exists() or (daemon.agent("a") or {"error": None})["error"], what="it has begun")
    pid = daemon.wait_state("a", "running")["pid"]
    own = {
        name: path
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        for _, names, path in [line.split(":", 2)]
        for name in names.split(",")
    }
    # Never let it eat what nothing holds.
    assert json.loads(listed.read_text()).keys() == {"memory", "pids"}
    [mounted] = [
        Path(line.split(" ")[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if " - cgroup " in line and "memory" in line.rsplit(" ", 1)[1].split(",")
    ]
    group = mounted / own["memory"].lstrip("/")
    assert int((group / "memory.limit_in_bytes").read_text()) == limit
    daemon.type("a", "")
    ended = daemon.wait_state("a", "failed", timeout=30)
    assert (ended["exit_signal"], str(ended["error"]).split(":")[0]) == (9, "oom")
    assert not (daemon.workdir / "survived").exists()
    daemon.write_jcard(jcard())
    daemon.wait_gone("a")
    assert not group.exists()


def test_processes_are_held(sandboxed: Sandboxed) -> None:
    daemon, limit = sandboxed.daemon, 20
    (daemon.workdir / "forker.py").write_text(FORKER)
    command = [PYTHON, "-I", "-S", "forker.py", str(limit)]
    sandboxed.start(
        jcard({"name": "a", "type": "sandboxed", "command": command, "workdir": "work", "pid_limit": limit})
    )
    forked = daemon.workdir / "forked"
    daemon.wait_for(forked.exists, what="it has forked what it can")
    assert int(forked.read_text()) == limit - 1


def test_no_group_is_left_after_a_shutdown(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    stay = {"type": "sandboxed", "command": ["sh", "-c", "exec sleep 600"], "workdir": "work"}
    sandboxed.start(jcard({"name": "a", **stay}, {"name": "b", **stay, "command": ["false"]}))
    daemon.wait_state("b", "failed")
    pid = daemon.wait_state("a", "running")["pid"]
    groups = [line.rsplit(":", 1)[1] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    runs = {Path(group).name for group in groups if "/agentd/" in group}
    runs |= {path.stem for path in Path(f"{daemon.tmux_socket}.runs").glob("*.record")}
    assert len(runs) == 2
    assert daemon.stop() == 0
    assert not [path for run in runs for path in control_groups(run)]


@pytest.mark.gvisor
def test_processes_are_held_in_gvisor_though_it_has_many_of_its_own(sandboxed: Sandboxed) -> None:
    daemon, limit = sandboxed.daemon, 100
    (daemon.workdir / "forker.py").write_text(FORKER)
    command = [PYTHON, "-I", "-S", "forker.py", str(limit)]
    fields = {"type": "sandboxed", "sandbox": "gvisor", "workdir": "work", "pid_limit": limit}
    sandboxed.start(jcard({"name": "a", "command": command, **fields}))
    forked = daemon.workdir / "forked"
    daemon.wait_for(forked.exists, 30, what="it has forked what it can")
    assert int(forked.read_text()) == limit - 1
    # A later daemon holds it to no less.
    daemon.kill()
    daemon.start(*sandboxed.flags, env={"LANG": "C.UTF-8"})
    found = daemon.wait_state("a", "running")["limits"]
    pids = None if found is None else found["pid_limit"]
    assert pids is not None
    assert (pids["value"], pids["reason"]) == (limit, None)


@pytest.mark.gvisor
def test_memory_is_held_in_gvisor(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    bound = 512
    script = f"kept = []\ninput()\nfor _ in range({bound}):\n    kept.append(b'x' * (1 << 20))\nopen('survived', 'w')\n"
    (daemon.workdir / "eater.py").write_text(script)
    fields = {"type": "sandboxed", "sandbox": "gvisor", "workdir": "work", "memory": "256MiB"}
    sandboxed.start(jcard({"name": "a", "command": [PYTHON, "-I", "-S", "eater.py"], **fields}))
    limits = daemon.wait_state("a", "running")["limits"]
    memory = None if limits is None else limits["memory"]
    assert memory is not None
    assert (memory["value"], memory["reason"]) == (256 << 20, None)
    daemon.type("a", "")
    ended = daemon.wait_state("a", "failed", timeout=30)
    assert ended["error"] is not None
    assert ended["error"].startswith("oom")
    assert not (daemon.workdir / "survived").exists()
