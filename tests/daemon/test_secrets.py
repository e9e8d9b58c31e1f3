"""Secrets reach the agents that should have them, and nothing and nobody else."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path

import psutil
import pytest

from agentd.daemon.stable_reader import SETTLE_STOP
from tests.daemon.support import (
    another_run,
    counting,
    declare,
    environment_of,
    lives_on,
    own_home,
    pids,
    running,
    runs,
    script,
    start,
    stay,
)
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.processes import command_lines

VALUE = "hunter2-Zq9x7w"
"""What is looked for everywhere."""
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"


def test_each_agent_gets_exactly_its_secrets(daemon: Daemon) -> None:
    for name, value in (("A", "1"), ("B", "2\n\n"), ("C", "  3 \n"), ("EMPTY", ""), ("MULTI", f"{PEM}\n")):
        daemon.write_secret(name, value)
    start(
        daemon,
        stay("all"),
        stay("none", secrets=[]),
        stay("two", secrets=["A", "MULTI"]),
        stay("own", secrets=["A", "B"], env={"A": "mine", "C": "mine"}),
    )
    found = running(daemon, "all", "none", "two", "own")
    names = ("A", "B", "C", "EMPTY", "MULTI")

    def seen(name: str) -> dict[str, str]:
        environment = environment_of(found[name])
        return {each: environment[each] for each in names if each in environment}

    assert seen("all") == {"A": "1", "B": "2", "C": "  3 ", "EMPTY": "", "MULTI": PEM}
    assert seen("none") == {}
    assert seen("two") == {"A": "1", "MULTI": PEM}
    assert seen("own") == {"A": "mine", "B": "2", "C": "mine"}


def test_a_token_of_the_gateway_reaches_only_agents_that_list_it(daemon: Daemon) -> None:
    for name in ("KEY", "TOKEN"):
        daemon.write_secret(name, VALUE)
    tokens = '\n[[gateway.tokens]]\nsecret = "TOKEN"\nuser = "alice"\n'
    daemon.write_jcard(jcard(stay("all"), stay("lists", secrets=["TOKEN"])) + tokens)
    daemon.start()
    found = running(daemon, "all", "lists")
    seen = {name: environment_of(run).keys() & {"KEY", "TOKEN"} for name, run in found.items()}
    assert seen == {"all": {"KEY"}, "lists": {"TOKEN"}}


def test_a_secret_that_an_agent_names_and_that_is_missing_is_a_warning(daemon: Daemon) -> None:
    start(daemon, stay("a", secrets=["NOT_THERE"]))
    running(daemon, "a")
    assert "NOT_THERE" in str(daemon.health()["config"]["warnings"])


@pytest.mark.thorough
def test_a_missing_folder_is_no_secrets(daemon: Daemon) -> None:
    daemon.secrets.rmdir()
    start(daemon, stay("a"))
    running(daemon, "a")
    assert daemon.health()["config"]["warnings"] == []
    daemon.secrets.mkdir()


def test_what_is_no_secret_is_skipped_with_a_warning_that_names_the_file_alone(daemon: Daemon) -> None:
    folder = daemon.secrets
    bad_ones = {
        "NOT_UTF8": VALUE.encode() + b"\xff",
        "NUL": VALUE.encode() + b"\0",
        "1DIGIT": VALUE.encode(),
        "with-dash": VALUE.encode(),
        "with space": VALUE.encode(),
        "A=B": VALUE.encode(),
        "TOO_LONG": VALUE.encode() * 20_000,
    }
    for name, content in bad_ones.items():
        (folder / name).write_bytes(content)
    (folder / "DANGLING").symlink_to("nowhere")
    os.mkfifo(folder / "FIFO")
    # These are no secrets, and no mistakes.
    (folder / ".hidden").write_text(VALUE)
    (folder / "FOLDER").mkdir()
    (folder / "FOLDER" / "INSIDE").write_text(VALUE)
    (folder / "GOOD").write_text("fine")
    (daemon.folder / "elsewhere").write_text("followed")
    (folder / "LINK").symlink_to(daemon.folder / "elsewhere")
    start(daemon, stay("a"))
    environment = environment_of(running(daemon, "a")["a"])
    assert (environment["GOOD"], environment["LINK"]) == ("fine", "followed")
    assert not {*bad_ones, "DANGLING", "FIFO", "FOLDER", "INSIDE", ".hidden"} & set(environment)
    warnings = daemon.health()["config"]["warnings"]
    for name in (*bad_ones, "FIFO"):
        assert any(str(folder / name) in warning for warning in warnings), (name, warnings)
    assert not any("hidden" in warning or "FOLDER" in warning for warning in warnings)
    assert VALUE not in str(warnings) + daemon.log_text()
    assert VALUE not in str(environment)


@pytest.mark.thorough
def test_secrets_that_arrive_close_to_one_another_cause_one_launch(daemon: Daemon) -> None:
    start(daemon, counting("a", daemon.folder, "exec sleep 600"))
    pid = running(daemon, "a")["a"]
    names = [f"S{number}" for number in range(5)]
    before, attempt = 0, 0
    for attempt in range(5):
        _noted(daemon, pid)
        before, longest, last = len(runs(daemon.folder, "a")), 0.0, time.monotonic()
        for name in names:
            daemon.write_secret(name, f"{attempt}")
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            lives_on(daemon, 0.03)
        pid = another_run(daemon, "a", pid)
        if longest < SETTLE_STOP - 0.05:
            break
        value = f"{attempt}"
        daemon.wait_for(lambda value=value: _has(pids(daemon)["a"], names, value))  # type: ignore[misc]  # bound early
        pid = running(daemon, "a")["a"]
    environment = environment_of(pid)
    assert {environment[name] for name in names} == {f"{attempt}"}
    _noted(daemon, pid)
    assert len(runs(daemon.folder, "a")) == before + 1


def _noted(daemon: Daemon, pid: int) -> None:
    daemon.wait_for(lambda: pid in runs(daemon.folder, "a"), what="the run has noted itself")


def _has(pid: int | None, names: list[str], value: str) -> bool:
    """Whether a process was given all of them with this value."""
    if pid is None:
        return False
    environment = environment_of(pid)
    return all(environment.get(name) == value for name in names)


class LookingAtCommandLines(threading.Thread):
    """Reads the arguments of every process, over and over."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            self.seen.update(command_lines())

    def finish(self) -> None:
        self._enough.set()
        self.join()


def test_a_secret_is_on_no_command_line_at_any_time(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", VALUE)
    looking = LookingAtCommandLines()
    looking.start()
    names = [f"a{number}" for number in range(12)]
    start(daemon, *(stay(name) for name in names))
    first = running(daemon, *names)
    declare(daemon, *(stay(name, env={"X": "1"}) for name in names))
    for name in names:
        another_run(daemon, name, first[name])
    looking.finish()
    assert any(b"sleep\x00600" in line for line in looking.seen)
    assert any(b"/bin/sh" in line and str(daemon.runtime).encode() in line for line in looking.seen)
    assert not [line for line in looking.seen if VALUE.encode() in line]


def test_a_secret_is_in_no_log_no_answer_no_file_and_no_tmux_option(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", VALUE)
    daemon.write_secret("KEY", PEM)
    env = own_home(daemon)["env"]
    wide = "printf '%194s%s\\n' '' \"$TOKEN\""
    start(
        daemon,
        stay("stays", env=env),
        script("prints", 'echo "it is $TOKEN"; echo "$KEY"; exit 3', env=env),
        script("wraps", f"{wide}; exit 3", env=env),
        stay("argues", command=["sh", "-c", "exit 3", VALUE], env=env),
        counting("again", daemon.folder, "exit 1", restart="on-failure", max_restarts=3, env=env),
        stay("no-program", command=[f"no-{VALUE}"], env=env),
        flags=["--debug", "--log-format=json"],
    )
    first = running(daemon, "stays")["stays"]
    for name in ("prints", "wraps", "argues", "again"):
        daemon.wait_state(name, "failed")
    daemon.wait_for(lambda: "agent_last_screen" in daemon.log_text())
    daemon.write_jcard("garbage")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
    declare(daemon, stay("stays", env={**env, "X": "1"}))
    daemon.wait_gone("prints")
    another_run(daemon, "stays", first)
    daemon.wait_for(lambda: not [*daemon.runtime.rglob("*.sh")], what="the launch script is read, and gone")

    answers = [
        daemon.request("GET", path).body for path in ("/v1/agents", "/v1/health", "/v1/plan", "/v1/agents/stays")
    ]
    assert VALUE.encode() not in b"".join(answers)
    options = daemon.tmux("show-options", "-g") + daemon.tmux("show-environment", "-g")
    for session in daemon.sessions():
        options += daemon.tmux("show-options", "-t", f"={session}:")
        options += daemon.tmux("show-options", "-p", "-t", f"={session}:0")
        options += daemon.tmux("show-environment", "-t", f"={session}:")
    assert VALUE not in options
    logged = daemon.log_text()
    events = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert any("TOKEN" in event.get("environment", []) for event in events)
    assert VALUE not in logged
    text = "".join(str(event) for event in events)
    for line in PEM.splitlines()[1:-1]:
        assert line not in text
    # A long line is broken where the terminal ends.
    assert VALUE not in text.replace("\\n", "").replace(" ", "")
    # What an agent prints itself is kept as it printed it, for nobody else to read.
    printed = {daemon.state / f"agents/{name}/runs/0001/output/000000" for name in ("prints", "wraps")}
    assert holding(daemon.folder, VALUE) == {daemon.secrets / "TOKEN", *printed}
    assert {stat.S_IMODE(path.stat().st_mode) for path in printed} == {0o600}


def holding(folder: Path, text: str) -> set[Path]:
    """List the files that contain a text."""
    return {
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
    }


def test_launch_scripts_are_for_the_agent_user_alone_and_go_when_read(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", VALUE)
    modes: set[int] = set()
    enough = threading.Event()

    def look() -> None:
        while not enough.is_set():
            for path in daemon.runtime.rglob("*"):
                try:
                    if path.is_file() and VALUE.encode() in path.read_bytes():
                        modes.add(stat.S_IMODE(path.stat().st_mode))
                except OSError:
                    continue

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    former = os.umask(0)
    try:
        start(daemon, *(stay(f"a{number}") for number in range(20)))
    finally:
        os.umask(former)
    running(daemon, *(f"a{number}" for number in range(20)))
    enough.set()
    looking.join()
    assert modes == {0o600}
    daemon.wait_for(lambda: not holding(daemon.runtime, VALUE), what="the scripts are gone")


@pytest.mark.thorough
def test_scripts_that_a_killed_daemon_left_are_removed(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", VALUE)
    start(daemon, stay("a"))
    running(daemon, "a")
    daemon.kill()
    (folder,) = [path for path in daemon.runtime.iterdir() if path.is_dir()]
    left = folder / "0123456789abcdef.sh"
    left.write_text(f"export TOKEN='{VALUE}'\n")
    daemon.start()
    daemon.wait_for(lambda: not left.exists())
    running(daemon, "a")


def test_the_daemons_and_tmux_own_environments_hold_no_secret(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", VALUE)
    start(daemon, stay("a"))
    agent = running(daemon, "a")["a"]
    assert environment_of(agent)["TOKEN"] == VALUE
    for process in daemon.processes():
        if process.pid != agent and psutil.pid_exists(process.pid):
            assert VALUE not in psutil.Process(process.pid).environ().values()


def test_a_secret_is_passed_byte_for_byte(daemon: Daemon) -> None:
    values = ["'; touch pwned; '", "$(touch pwned)", "`touch pwned`", 'a"b\\c\td\x7f\x1b[1m é', "@RUN@ %s !! ~ *"]
    odd = {f"ODD{number}": value for number, value in enumerate(values)}
    for name, value in odd.items():
        daemon.write_secret(name, value)
    own = {f"OWN{number}": value for number, value in enumerate(values)}
    start(daemon, stay("a", env=own))
    environment = environment_of(running(daemon, "a")["a"])
    assert {name: environment[name] for name in (*odd, *own)} == {**odd, **own}
    assert not list(daemon.folder.rglob("pwned"))
