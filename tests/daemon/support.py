"""What the tests of the daemon say often: small agents, their runs, their processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.support.agents import jcard, misbehaving
from tests.support.daemon import AgentJson, Daemon
from tests.support.waiting import PATIENCE, wait_for

RUN_ID = "AGENTD_RUN_ID"
"""The variable by which all that a run started is found."""


def stay(name: str, **fields: object) -> dict[str, object]:
    """Declare an agent that stays until it is asked to end, which it does at once."""
    return {"name": name, "command": ["sleep", "600"], "grace_period": "20s", **fields}


def script(name: str, text: str, **fields: object) -> dict[str, object]:
    """Declare an agent that is a shell script."""
    return {"name": name, "command": ["sh", "-c", text, name], "grace_period": "20s", **fields}


def bad(name: str, *options: str | int | Path, **fields: object) -> dict[str, object]:
    """Declare an agent that misbehaves as told."""
    return {"name": name, "command": misbehaving(*options), "grace_period": "20s", **fields}


def counting(name: str, folder: Path, then: str, **fields: object) -> dict[str, object]:
    """Declare an agent that notes each run, with pid and time, in a file that `runs` reads, and goes on with ``then``.

    Three restarts take 0.1 s, unless ``fields`` say otherwise.
    """
    note = 'echo "$$ $(date +%s.%N)" >>"$0"'
    command = ["sh", "-c", f"{note}; {then}", str(runs_file(folder, name))]
    return {"name": name, "command": command, "grace_period": "20s", "restart_delay": "10ms", **fields}


def runs_file(folder: Path, name: str) -> Path:
    """Where an agent made by `counting` notes its runs."""
    return folder / f"{name}.runs"


def runs(folder: Path, name: str) -> list[int]:
    """Give the pids of the runs so far of an agent made by `counting`."""
    path = runs_file(folder, name)
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def run_times(folder: Path, name: str) -> list[float]:
    """Give the times at which the runs so far began."""
    return [float(line.split()[1]) for line in runs_file(folder, name).read_text().splitlines()]


def own_home(daemon: Daemon) -> dict[str, dict[str, str]]:
    """Give the field that keeps the shell of an ended agent from reading what root has in its home."""
    return {"env": {"HOME": str(daemon.home)}}


def declare(daemon: Daemon, *agents: dict[str, object]) -> None:
    """Write the jcard."""
    daemon.write_jcard(jcard(*agents))


def start(daemon: Daemon, *agents: dict[str, object], flags: Iterable[str] = ()) -> None:
    """Write the jcard, start the daemon, and wait until it has taken the jcard."""
    declare(daemon, *agents)
    daemon.start(*flags)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"], what="the jcard is in force")


def refused(daemon: Daemon, *flags: str, env: dict[str, str] | None = None) -> str:
    """Start a daemon that cannot run, and give the one line on stderr that says why."""
    before = len(daemon.log_text())
    daemon.start(*flags, env=env, ready=False)
    assert daemon.wait_exit(30) == 1
    plain = [line for line in daemon.log_text()[before:].splitlines() if not line.startswith("{")]
    assert len(plain) == 1, plain
    assert plain[0].startswith("agentd: cannot start: ")
    return plain[0]


def running(daemon: Daemon, *names: str, timeout: float = PATIENCE) -> dict[str, int]:
    """Wait until these agents run, and give their pids."""
    return {name: pid_of(daemon.wait_state(name, "running", timeout=timeout)) for name in names}


def settled(daemon: Daemon, *agents: dict[str, object]) -> None:
    """Declare agents and one more, new each time: once it runs, the daemon has acted on the declaration."""
    name = f"seen-{time.monotonic_ns()}"
    declare(daemon, *agents, stay(name))
    running(daemon, name)


def known(daemon: Daemon, name: str) -> None:
    """Wait until the daemon knows of the agent, running or not."""
    daemon.wait_for(lambda: name in daemon.agents(), what=f"{name} is known")


def failure(daemon: Daemon, name: str) -> str:
    """Wait until the agent has an error, and give it."""

    def probe() -> str | None:
        agent = daemon.agent(name)
        return None if agent is None else agent["error"]

    found = daemon.wait_for(probe, what=f"{name} has an error")
    assert found
    return found


def folder_of(pid: int) -> Path:
    """Give the folder a process is in."""
    return Path(f"/proc/{pid}/cwd").readlink()


def pid_of(agent: AgentJson) -> int:
    """Give the pid of an agent that has one."""
    assert agent["pid"] is not None, agent
    return agent["pid"]


def pids(daemon: Daemon) -> dict[str, int | None]:
    """Give the pid of every agent."""
    return {name: agent["pid"] for name, agent in daemon.agents().items()}


def another_run(daemon: Daemon, name: str, former: int) -> int:
    """Wait until the agent runs as another process, and give its pid."""

    def probe() -> int | None:
        agent = daemon.agent(name)
        fresh = agent is not None and agent["state"] == "running" and agent["pid"] != former
        return agent["pid"] if fresh and agent is not None else None

    found = daemon.wait_for(probe, 20, what=f"{name} runs anew")
    assert found is not None
    return found


def environment_of(pid: int) -> dict[str, str]:
    """Read the environment of an agent's process, once its launcher has become the agent."""
    process = psutil.Process(pid)
    return wait_for(lambda: RUN_ID in (found := process.environ()) and found, what=f"{pid} is an agent")


def of_run(run_id: str) -> list[int]:
    """List the living processes that carry a run's id, the launcher not among them, which has none."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(RUN_ID) == run_id:
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


def lines(path: Path) -> list[str]:
    """Read the lines of a file; none while it does not exist."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def lives_on(daemon: Daemon, seconds: float) -> None:
    """Let the daemon live for a while: for tests about a moment that nothing announces."""
    assert daemon.process is not None
    try:
        daemon.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"agentd ended with status {daemon.process.returncode}\n{daemon.explain()}")
