"""What other users of the machine, and the agents' own, can reach: files, sockets, processes."""

from __future__ import annotations

import grp
import os
import re
import stat
from pathlib import Path

import pytest

from tests.security.users import AGENT_USER, STRANGER, account, python_as, run_as, start_guarded
from tests.support.daemon import Daemon

SECRET = "s3cret-of-the-test"
PROMPT = "prompt-of-the-test"

CONNECT = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""

REACHABLE = """
import os, sys
for root in sys.argv[1:]:
    for folder, folders, files in os.walk(root):
        for name in files + folders:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            rights = "".join(letter for letter, mode in (("r", os.R_OK), ("w", os.W_OK)) if os.access(path, mode))
            if rights and not (os.path.isdir(path) and rights == "r"):
                print(rights, path)
        if os.access(folder, os.W_OK):
            print("w", folder)
"""


def agents(daemon: Daemon) -> list[dict[str, object]]:
    stay = {"command": ["sh", "-c", "exec sleep 600", "sh"], "workdir": "work"}
    return [
        {"name": "a", "prompt": PROMPT, **stay, "env": {"FROM_ENV": SECRET}},
        {
            "name": "ended",
            "command": ["sh", "-c", "echo over; false", "sh"],
            "workdir": "work",
            "env": {"HOME": str(daemon.workdir)},
        },
    ]


@pytest.fixture
def running(guarded: Daemon) -> Daemon:
    """A daemon that was started with the loosest umask there is."""
    guarded.write_secret("TOKEN", SECRET)
    former = os.umask(0)
    try:
        start_guarded(guarded, *agents(guarded))
    finally:
        os.umask(former)
    guarded.wait_state("a", "running")
    guarded.wait_state("ended", "failed")
    guarded.wait_for(lambda: [*guarded.state.glob("agents/ended/runs/0001/output/000000")])
    return guarded


def made_by(daemon: Daemon) -> dict[str, tuple[str, int, int, int]]:
    """Kind, mode, owner and group of everything that agentd has made, by path; runs by what they end with."""
    found = {}
    for root in (daemon.runtime, daemon.state):
        for path in (root, *root.rglob("*")):
            status = path.lstat()
            name = str(path.relative_to(daemon.folder))
            if path.parent.name.endswith(".runs") and path.name != "hints":
                name = str(path.parent.relative_to(daemon.folder) / f"*{path.suffix}")
            name = re.sub("^state/agents/[^/]+", "state/agents/*", name)
            kind = stat.filemode(status.st_mode)[0]
            found[name] = kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    return found


EXPECTED = {
    # By the test, as a package would.
    "run": ("d", None, "root", None),
    "run/tmux": ("d", 0o750, AGENT_USER, None),
    # By agentd.
    "run/agentd.sock": ("s", 0o660, "root", "adm"),
    "run/agentd.sock.turns": ("s", 0o660, AGENT_USER, "adm"),
    "run/agentd.sock.pid": ("-", 0o600, "root", None),
    "run/tmux/tmux.sock": ("s", 0o770, AGENT_USER, "adm"),
    "run/tmux/tmux.sock.pid": ("-", 0o600, "root", None),
    "run/tmux/tmux.sock.runs": ("d", 0o700, AGENT_USER, None),
    "run/tmux/tmux.sock.runs/hints": ("p", 0o600, AGENT_USER, None),
    "run/tmux/tmux.sock.runs/*.record": ("-", 0o600, AGENT_USER, None),
    "run/tmux/tmux.sock.runs/*.turns": ("-", 0o600, AGENT_USER, None),
    # By the launcher, in a folder that nobody else can enter.
    "run/tmux/tmux.sock.runs/*.pid": ("-", 0o600, AGENT_USER, None),
    "run/tmux/tmux.sock.runs/*.exit": ("-", 0o600, AGENT_USER, None),
    # The agents' user writes its transcripts: it may pass, and neither list nor change anything on the way.
    "state": ("d", 0o701, "root", None),
    "state/agentd.pid": ("-", 0o600, "root", None),
    "state/journal": ("d", 0o700, "root", None),
    "state/journal/events.db": ("-", 0o600, "root", None),
    "state/journal/events.db-wal": ("-", 0o600, "root", None),
    "state/journal/events.db-shm": ("-", 0o600, "root", None),
    "state/agents": ("d", 0o710, "root", AGENT_USER),
    "state/agents/*": ("d", 0o710, "root", AGENT_USER),
    "state/agents/*/runs": ("d", 0o710, "root", AGENT_USER),
    "state/agents/*/runs/0001": ("d", 0o710, "root", AGENT_USER),
    "state/agents/*/runs/0001/run.json": ("-", 0o600, "root", None),
    "state/agents/*/runs/0001/output.log": ("l", None, "root", None),
    "state/agents/*/runs/0001/output": ("d", 0o700, AGENT_USER, None),
    "state/agents/*/runs/0001/output/000000": ("-", None, AGENT_USER, None),
}
"""Kind, mode, owner and group; ``None`` where it is not agentd's business."""


@pytest.mark.program
def test_everything_agentd_makes_has_the_kind_mode_and_owner_that_the_documentation_says(running: Daemon) -> None:
    made = made_by(running)
    assert set(made) == set(EXPECTED)
    for name, (kind, mode, owner, group) in EXPECTED.items():
        found_kind, found_mode, found_owner, found_group = made[name]
        assert found_kind == kind, name
        assert mode in (None, found_mode), f"{name}: {found_mode:o}"
        assert found_owner == account(owner).pw_uid, name
        assert group is None or found_group == grp.getgrnam(group).gr_gid, name


def test_a_stranger_reaches_nothing(running: Daemon) -> None:
    reached = python_as(STRANGER, REACHABLE, running.runtime, running.state, running.secrets)
    assert (reached.returncode, reached.stdout, reached.stderr) == (0, "", "")
    hooks = running.api_socket.with_name("agentd.sock.turns")
    for path in (running.api_socket, running.tmux_socket, hooks):
        assert python_as(STRANGER, CONNECT, path).stdout == "PermissionError\n"
    assert run_as(STRANGER, ["tmux", "-S", running.tmux_socket, "list-sessions"]).returncode != 0
    pids = [process.pid for process in running.processes()]
    assert len(pids) >= 4
    for pid in pids:
        assert run_as(STRANGER, ["cat", f"/proc/{pid}/environ"]).returncode != 0
    # What everybody can see of any process are its arguments: no secret is among them.
    lines = run_as(STRANGER, ["cat", *(f"/proc/{pid}/cmdline" for pid in pids)]).stdout
    assert "sleep" in lines
    assert SECRET not in lines


def test_the_agents_user_reaches_its_tmux_and_its_runs_and_nothing_else(running: Daemon) -> None:
    reached = python_as(AGENT_USER, REACHABLE, running.runtime, running.state, running.secrets)
    tmux = running.tmux_socket.parent
    found = {Path(line.split(" ", 1)[1]) for line in reached.stdout.splitlines()}
    assert reached.returncode == 0, reached.stderr
    assert tmux in found
    hooks = running.api_socket.with_name("agentd.sock.turns")
    assert {path for path in found if path != tmux and tmux not in path.parents} == {hooks}
    assert running.tmux_socket.with_name("tmux.sock.pid") not in found
    assert python_as(AGENT_USER, CONNECT, running.api_socket).stdout == "PermissionError\n"
    for path in (running.tmux_socket, hooks):
        assert python_as(AGENT_USER, CONNECT, path).stdout == "connected\n"
    assert run_as(AGENT_USER, ["cat", f"/proc/{running.pid}/environ"]).returncode != 0
    assert run_as(AGENT_USER, ["kill", "-0", str(running.pid)]).returncode != 0


def test_launch_scripts_with_their_secrets_are_gone_once_the_agent_runs(running: Daemon) -> None:
    runs = running.tmux_socket.with_name("tmux.sock.runs")
    assert list(runs.glob("*.sh")) == []
    texts = [path.read_bytes() for path in (*runs.iterdir(), *running.state.rglob("*")) if path.is_file()]
    assert texts
    assert not any(SECRET.encode() in text for text in texts)
    assert SECRET not in running.log_text()
    assert SECRET not in str(running.agents())
