"""What a sandboxed agent tries in vain: each attempt is made for real, by an agent in a real sandbox."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import cast

import pytest

from tests.sandbox.conftest import KINDS, PYTHON, Sandboxed
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.thorough import everyday

SCRIPT = Path(__file__).with_name("escaping_agent.py").read_text()
"""Given as a text: a sandbox need not show this clone, as where that lies below /tmp."""
OWN, OTHERS, UNGRANTED, WORK = "own-s3cret", "others-s3cret", "ungranted-s3cret", "the-others-work"


def escape(**orders: object) -> list[str]:
    """The command of an agent that tries this, and stays."""
    script = (
        f'printf \'%s\' "$1" >orders.json; {PYTHON} -I -S -c "$2" orders.json found.json 2>error.txt; exec sleep 600'
    )
    return ["sh", "-c", script, "sh", json.dumps(orders), SCRIPT]


def ended(daemon: Daemon) -> bool:
    """Whether the agent will try nothing any more."""
    agent = daemon.agent("a")
    assert agent is None or agent["error"] is None, agent
    return False


def found(daemon: Daemon, workdir: Path) -> dict[str, object]:
    """What came of it."""
    daemon.wait_for(
        lambda: (workdir / "found.json").exists() or ended(daemon), 30, what="the agent has tried everything"
    )
    return cast("dict[str, object]", json.loads((workdir / "found.json").read_text()))


def outcome(results: dict[str, object], attempt: str) -> str:
    """What came of one attempt."""
    return cast("str", results[attempt])


@KINDS
def test_nothing_outside_is_read_written_or_reached(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    folder, work = daemon.folder, daemon.workdir
    other = folder / "other"
    other.mkdir()
    sandboxed.give(other)
    (other / "theirs.txt").write_text(WORK)
    sandboxed.give(other / "theirs.txt")
    for name, value in (("OWN", OWN), ("OTHERS", OTHERS), ("UNGRANTED", UNGRANTED)):
        daemon.write_secret(name, value)
    runtime = Path(f"{daemon.tmux_socket}.runs")
    home = daemon.data / "sandboxes"
    read = [other / "theirs.txt", daemon.secrets / "OTHERS", daemon.jcard, daemon.state, runtime, home, Path("/run"),
            Path("/tmp"), daemon.tmux_socket]  # fmt: skip
    x = f"written-by-{os.getpid()}"
    outside = [Path(folder, x) for folder in ("/etc", "/usr", "/", "/tmp", "/sys/fs/cgroup")]
    write = [work / "ok.txt", other / x, folder / x, *outside, daemon.jcard, runtime / f"{x}.sh",
             folder / f"jcard.d/{x}.toml", daemon.data / x]  # fmt: skip
    orders = {
        "read": list(map(str, read)),
        "write": list(map(str, write)),
        "connect": [str(daemon.tmux_socket), str(daemon.api_socket)],
        "uncover": [str(folder), str(daemon.secrets), "/run"],
        "kill": [os.getpid(), os.getppid()],
    }
    stay = ["sh", "-c", "exec sleep 600"]
    sandboxed.start(
        jcard(
            {"name": "victim", "command": stay, "workdir": "other", "secrets": ["OTHERS"]},
            {"name": "guest", "type": "sandboxed", "command": stay, "workdir": "other", "secrets": ["OTHERS"]},
            {
                "name": "a",
                "type": "sandboxed",
                "sandbox": kind,
                "command": escape(**orders),
                "workdir": "work",
                "secrets": ["OWN"],
            },
        )
    )
    declared = daemon.jcard.read_text()
    daemon.wait_state("victim", "running")
    results = found(daemon, work)
    assert outcome(results, f"write {work}/ok.txt").startswith("done")
    assert (work / "ok.txt").read_text() == "was here"
    shown = {attempt: result for attempt, result in results.items() if attempt.startswith(("read", "uncover"))}
    for secret in (OTHERS, UNGRANTED, WORK):
        assert secret not in json.dumps({**shown, **{k: results[k] for k in ("environments", "environ")}}), results
    for path in (daemon.state, runtime, home, daemon.secrets / "OTHERS", daemon.jcard):
        assert outcome(results, f"read {path}").startswith(("done: []", "refused"))
    # Where the sandbox has a folder of its own in the place, a file may be made, and nobody else sees it.
    assert not [path for path in write[1:] if path != daemon.jcard and path.exists()]
    assert daemon.jcard.read_text() == declared
    for path in (daemon.tmux_socket, daemon.api_socket):
        assert outcome(results, f"connect {path}").startswith("refused"), results
    for attempt in ("type", "type high"):
        assert outcome(results, attempt).startswith(f"refused: [Errno {25 if kind == 'gvisor' else 1}] "), results
    # In gVisor it is one of gVisor's own.
    assert kind == "gvisor" or outcome(results, "keys") == "refused: [Errno 38] Function not implemented"
    assert len(cast("list[int]", results["processes"])) <= 5
    for pid in (os.getpid(), os.getppid()):
        assert "No such process" in outcome(results, f"kill {pid}") or pid < 10
    assert cast("list[str]", results["descriptors"]) == ["0", "1", "2", "3"]
    environ = cast("dict[str, str]", results["environ"])
    assert environ["OWN"] == OWN
    assert "XDG_RUNTIME_DIR" not in environ
    assert results["cwd"] == str(work)


@KINDS
def test_a_home_of_its_own_lasts_over_runs_and_is_nobody_elses(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    command = ["sh", "-c", "ls -A ~ >listed.$AGENTD_AGENT; echo mine >~/$AGENTD_AGENT; exec sleep 600"]
    agents = [
        {"name": name, "type": "sandboxed", "sandbox": kind, "command": command, "workdir": "work"}
        for name in ("a", "b")
    ]
    sandboxed.start(jcard(*agents))
    for name in ("a", "b"):
        daemon.wait_for((daemon.data / "sandboxes" / name / name).exists, what="its home is written")
        assert (daemon.workdir / f"listed.{name}").read_text() == ""
        assert (daemon.data / "sandboxes" / name).stat().st_mode & 0o777 == 0o700
    first = daemon.wait_state("a", "running")["pid"]
    daemon.write_jcard(jcard(*({**agent, "env": {"N": "2"}} for agent in agents)))
    daemon.wait_for(lambda: (daemon.workdir / "listed.a").read_text() == "a\n", what="the home was kept")
    assert daemon.wait_state("a", "running")["pid"] != first
    assert not [*daemon.home.iterdir()]


@KINDS
def test_the_jcard_in_its_workdir_cannot_be_changed(sandboxed: Sandboxed, kind: str) -> None:
    """An agent that could write it, or a drop-in, would start another one without a sandbox."""
    daemon = sandboxed.daemon
    conf = daemon.workdir / "conf"
    conf.mkdir()
    daemon.jcard = conf / "jcard.toml"
    for path in (conf,):
        sandboxed.give(path)
    drop_in = conf / "jcard.d/x.toml"
    orders = {
        "read": [str(daemon.jcard)],
        "write": [str(daemon.jcard), str(drop_in)],
        "rename": [str(daemon.jcard), str(conf), str(conf / "jcard.d")],
    }
    text = jcard(
        {"name": "a", "type": "sandboxed", "sandbox": kind, "command": escape(**orders), "workdir": str(daemon.workdir)}
    )
    if sandboxed.user is not None:
        os.chown(conf, 0, 0)
    sandboxed.start(text)
    results = found(daemon, daemon.workdir)
    for attempt in [each for each in results if each.startswith(("read", "write", "rename"))]:
        assert outcome(results, attempt).startswith("refused"), (attempt, results[attempt])
    assert daemon.jcard.read_text() == text
    assert not drop_in.exists()


@KINDS
def test_a_symlink_in_the_workdir_leads_nowhere(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    hidden = daemon.secrets / "TOKEN"
    daemon.write_secret("TOKEN", OTHERS)
    (daemon.workdir / "link").symlink_to(hidden)
    (daemon.workdir / "folder").symlink_to(daemon.folder)
    orders = {
        "read": [str(daemon.workdir / "link"), str(daemon.workdir / "folder/secrets/TOKEN")],
        "write": [str(daemon.workdir / "link"), str(daemon.workdir / "folder/x")],
    }
    agent = {
        "name": "a",
        "type": "sandboxed",
        "sandbox": kind,
        "command": escape(**orders),
        "workdir": "work",
        "secrets": [],
    }
    sandboxed.start(jcard(agent))
    results = found(daemon, daemon.workdir)
    for attempt in [each for each in results if each.startswith("read")]:
        assert OTHERS not in outcome(results, attempt)
    assert not (daemon.folder / "x").exists()
    assert hidden.read_text() == OTHERS


@KINDS
def test_a_writable_path_that_became_a_symlink_is_refused(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    prize = daemon.folder / "prize"
    for path in (daemon.folder / "shared", daemon.folder / "shared/cache", prize):
        path.mkdir()
        sandboxed.give(path)
    cache = daemon.folder / "shared/cache"
    agent = {
        "name": "a",
        "type": "sandboxed",
        "sandbox": kind,
        "command": escape(write=[str(cache / "x"), str(prize / "x")]),
        "workdir": "work",
        "writable_paths": ["shared/cache"],
    }
    sandboxed.start(jcard(agent))
    results = found(daemon, daemon.workdir)
    assert outcome(results, f"write {cache}/x").startswith("done")
    assert outcome(results, f"write {prize}/x").startswith("refused")
    cache.rename(cache.with_name("former"))
    cache.symlink_to(prize)
    daemon.write_jcard(jcard({**agent, "env": {"N": "2"}}))
    refused = daemon.wait_state("a", "failed", "backoff")
    assert refused["error"] is not None
    assert "symlink" in refused["error"]
    assert str(cache) in refused["error"]
    assert not [*prize.iterdir()]


@pytest.mark.parametrize("place", everyday(["state", "secrets"], ["state", "secrets", "data", "run/tmux.sock.runs"]))
def test_what_is_agentds_own_is_given_to_no_agent(sandboxed: Sandboxed, place: str) -> None:
    daemon = sandboxed.daemon
    path = daemon.folder / place if "/" not in place else Path(f"{daemon.tmux_socket}.runs")
    sandboxed.start(
        jcard({"name": "a", "type": "sandboxed", "command": ["true"], "workdir": "work", "writable_paths": [str(path)]})
    )
    refused = daemon.wait_state("a", "failed", "backoff")["error"]
    assert refused is not None
    assert "agentd's own" in refused or "cannot be used" in refused


def test_a_writable_path_that_changes_while_the_sandbox_is_made_is_refused(sandboxed: Sandboxed) -> None:
    """It is swapped after agentd has looked at it, and before bubblewrap mounts it."""
    daemon = sandboxed.daemon
    prize, cache, programs = (daemon.folder / name for name in ("prize", "cache", "programs"))
    for path in (prize, cache, programs):
        path.mkdir()
        sandboxed.give(path)
    program = programs / "bwrap"
    swap = f"mv {cache} {cache}.former && ln -s {prize} {cache}"
    program.write_text(f'#!/bin/sh\ncase "$*" in *--seccomp*) {swap};; esac\nexec {shutil.which("bwrap")} "$@"\n')
    program.chmod(0o755)
    if sandboxed.user is not None:
        # The agents' user may rename what is in it, as it may in a workdir.
        sandboxed.give(daemon.folder)
    command = ["sh", "-c", f"echo was here >{cache}/x; exec sleep 600"]
    agent = {"name": "a", "type": "sandboxed", "command": command, "workdir": "work", "writable_paths": ["cache"]}
    sandboxed.start(jcard(agent), path=str(programs))
    error = daemon.wait_state("a", "failed", "backoff")["error"]
    assert error is not None
    assert "was replaced while that was made" in error
    assert cache.is_symlink()
    assert not [*prize.iterdir()]


@KINDS
@pytest.mark.parametrize("network", ["host", "none"])
def test_services_on_loopback_are_reached_with_the_hosts_network_alone(
    sandboxed: Sandboxed, kind: str, network: str
) -> None:
    daemon = sandboxed.daemon
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        script = f'{PYTHON} -I -S -c "$1" 2>why; echo $? >part; mv part status; exec sleep 600'
        fields = {"type": "sandboxed", "sandbox": kind, "network": network, "workdir": "work"}
        sandboxed.start(jcard({"name": "a", "command": ["sh", "-c", script, "sh", connect], **fields}))
        status = daemon.workdir / "status"
        daemon.wait_for(status.exists, 20, what="the agent has tried")
    why = (daemon.workdir / "why").read_text()
    assert status.read_text() == ("0\n" if network == "host" else "1\n"), why
    assert network == "host" or "refused" in why
