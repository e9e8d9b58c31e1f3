"""A real agentd to drive from outside: its files, its API, its tmux server, its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol, TypedDict, TypeVar, cast

from tests.support.processes import Process, alive, end_marked, marked
from tests.support.waiting import PATIENCE, WaitError, wait_for

T = TypeVar("T")

SOCKET_PATH_LIMIT = 107
"""Bytes the kernel takes for the path of a Unix socket."""

SIGNS_OF_A_DEFECT = ("Traceback (most recent call last)", "was never retrieved", "was never awaited")
"""What no daemon's log may hold, whatever the test did to it."""


class LimitJson(TypedDict):
    """One limit of an agent."""

    value: float
    peak: int | None
    enforced_by: str | None
    reason: str | None


class StalledJson(TypedDict):
    """What is shown of an agent that does not go on."""

    since: str
    phase: str
    reason: str
    action: str
    tried: int
    next: str | None


class UsageLimitJson(TypedDict):
    """The usage limit that an agent is at."""

    since: str
    resets_at: str | None
    source: str
    action: str | None
    resume_at: str | None
    resumes: int
    reason: str | None


class BoundJson(TypedDict):
    """One number of a budget."""

    name: str
    limit: float
    used: float | None
    source: str | None
    told_at: str | None
    resets_at: str | None


class BudgetJson(TypedDict):
    """What an agent has used of its budget."""

    on_breach: str
    bounds: list[BoundJson]
    breached: bool
    reason: str | None


class HeldChangeJson(TypedDict):
    """The change of an agent's definition that waits."""

    since: str
    fields: list[str]
    apply: str
    waits: list[str]
    apply_at: str | None


class QueuedJson(TypedDict):
    """The place of an agent in the queue."""

    place: int | None
    reason: str
    since: str


class AgentJson(TypedDict):
    """One agent as ``/v1/agents`` shows it."""

    name: str
    running: bool
    session: str
    restarts: int
    type: str
    harness: str
    state: str
    pid: int | None
    started_at: str | None
    uptime_seconds: int
    exit_code: int | None
    exit_signal: int | None
    exit_reason: str | None
    oom_kills: int
    limits: dict[str, LimitJson | None] | None
    error: str | None
    next_restart_at: str | None
    deadline: str | None
    workdir: str
    worktree: dict[str, str | None] | None
    sandbox: dict[str, object] | None
    recording: str | None
    pane: str | None
    pane_pid: int | None
    owner: str | None
    source: str | None
    activity: str | None
    activity_since: str | None
    activity_source: str | None
    activity_text: str | None
    conversation: str | None
    usage_limit: UsageLimitJson | None
    stalled: StalledJson | None
    budget: BudgetJson | None
    held_change: HeldChangeJson | None
    queued: QueuedJson | None
    next_start_at: str | None
    priority: int
    ports: dict[str, int]


class ConfigFileJson(TypedDict):
    """One of the files that declare agents."""

    path: str
    valid: bool
    error: str | None
    warnings: list[str]
    agents: int
    loaded_at: str | None
    digest: str | None


class ConfigJson(TypedDict):
    """The part of ``/v1/health`` about the jcard."""

    path: str
    valid: bool
    error: str | None
    warnings: list[str]
    loaded_at: str | None
    digest: str | None
    files: list[ConfigFileJson]


class SlowReadJson(TypedDict):
    """A look of ``/v1/health`` that takes long."""

    path: str
    seconds: int


class HealthJson(TypedDict):
    """``/v1/health``."""

    state: str
    uptime_seconds: int
    version: str
    pid: int
    config: ConfigJson
    agents: dict[str, int]
    slow_reads: list[SlowReadJson]
    problem: str | None


class Running(Protocol):
    """A daemon's process: the part of ``subprocess.Popen`` that is used of it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float = ..., /) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


class Launch(Protocol):
    """Starts agentd with this command line, in a session of its own, writing into ``log``."""

    def __call__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Running: ...


def launch_program(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Running:
    """Start the installed program."""
    return subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> object:
        """Parse the body."""
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of the host."""
        self.sock = socket.socket(socket.AF_UNIX)
        # With a time limit, a Unix socket refuses at once where the daemon's queue is full.
        self.sock.connect(str(self._path))
        self.sock.settimeout(self.timeout)


class Daemon:
    """An agentd with a folder, a HOME and sockets of its own.

    Nothing runs until :meth:`start`. ``bin`` comes first on the PATH of the daemon and so of its agents; put
    stand-ins for real agents' programs there. That folder on the PATH is also how left-overs are recognised.
    The fixtures give another ``launch`` than the program's own, which costs a tenth (`tests.support.forked`).
    """

    def __init__(self, folder: Path, launch: Launch = launch_program) -> None:
        self.folder = folder
        self._launch = launch
        self.jcard = folder / "jcard.toml"
        self.drop_ins = folder / "jcard.d"
        self.secrets = folder / "secrets"
        self.workdir = folder / "work"
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.state = folder / "state"
        self.data = folder / "data"
        self.runtime = folder / "run"
        self.api_socket = self.runtime / "agentd.sock"
        self.tmux_socket = self.runtime / "tmux.sock"
        self.log = folder / "agentd.log"
        self.process: Running | None = None
        self.stopped_cleanly = False
        self.patience = 2.0
        """Seconds that :meth:`close` waits before it signals again."""
        self._arguments: tuple[str, ...] = ()
        self._env: Mapping[str, str] = {}
        for each in (self.workdir, self.home, self.bin, self.runtime):
            each.mkdir()
        self.secrets.mkdir(mode=0o700)
        length = len(os.fsencode(self.api_socket))
        assert length <= SOCKET_PATH_LIMIT, f"{self.api_socket} has {length} bytes; set TMPDIR to a shorter path"

    # Life

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.process is not None, "agentd was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the daemon process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def places(self) -> dict[str, str]:
        """The environment by which agentctl finds its files and sockets."""
        return {
            "AGENTD_CONFIG": str(self.jcard),
            "AGENTD_API_SOCKET": str(self.api_socket),
            "AGENTD_TMUX_SOCKET": str(self.tmux_socket),
            "AGENTD_STATE_DIR": str(self.state),
            "AGENTD_DATA_DIR": str(self.data),
            "AGENTD_SECRET_DIR": str(self.secrets),
        }

    def environment(self, **more: str) -> dict[str, str]:
        """Build the daemon's environment: this process' own, with another HOME and PATH."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTD_", "TMUX"))}
        return {
            **inherited,
            "HOME": str(self.home),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        """Build the command line with this daemon's folders."""
        return [
            program("agentd"),
            f"--config={self.jcard}",
            f"--secret-dir={self.secrets}",
            f"--tmux-socket={self.tmux_socket}",
            f"--api-socket={self.api_socket}",
            f"--state-dir={self.state}",
            f"--data-dir={self.data}",
            *arguments,
        ]

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, ready: bool = True) -> None:
        """Start agentd, and wait until its API answers unless ``ready`` is false."""
        assert not self.running, "agentd runs already"
        self._arguments, self._env = arguments, env or {}
        self.stopped_cleanly = False
        with self.log.open("ab") as log:
            self.process = self._launch(
                self.command(*arguments), env=self.environment(**self._env), cwd=self.folder, log=log
            )
        if ready:
            self.wait_answers()

    def wait_answers(self) -> None:
        """Wait until the API does."""
        self.wait_for(self._answers, what="agentd's API answers")

    def _answers(self) -> bool:
        assert self.running, f"agentd ended with status {self.process and self.process.returncode}\n{self.explain()}"
        try:
            return self.request("GET", "/v1/health").status == http.HTTPStatus.OK
        except OSError:
            return False

    def stop(self, timeout: float = PATIENCE, number: int = signal.SIGTERM) -> int:
        """Ask agentd to end and return its exit status."""
        assert self.process is not None, "agentd was not started"
        self.signal(number)
        status = self.wait_exit(timeout)
        self.stopped_cleanly = status == 0 and "keep" not in " ".join(self._arguments)
        return status

    def kill(self) -> None:
        """SIGKILL agentd alone; its agents live on."""
        assert self.process is not None, "agentd was not started"
        self.process.kill()
        self.process.wait()
        self.stopped_cleanly = False

    def restart(self, *arguments: str) -> None:
        """Stop agentd if it runs, and start it again; with the same arguments unless others are given."""
        if self.running:
            self.stop()
        self.start(*(arguments or self._arguments), env=self._env)

    def signal(self, number: int) -> None:
        """Send a signal to agentd alone."""
        assert self.process is not None, "agentd was not started"
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        """Wait until agentd ended and return its exit status, negative for a signal."""
        process = self.process
        assert process is not None, "agentd was not started"
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"agentd still runs after {timeout:g} s\n{self.explain()}") from None

    # Files

    def write_jcard(self, text: str) -> None:
        """Replace the jcard by rename, as editors do."""
        part = self.jcard.with_name(".jcard.toml.part")
        part.write_text(text, encoding="utf-8")
        part.rename(self.jcard)

    def write_drop_in(self, name: str, text: str) -> Path:
        """Replace a drop-in by rename; its folder is made where it is missing."""
        path = self.drop_ins / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        return part.rename(path)

    def write_secret(self, name: str, value: str) -> None:
        """Replace a secret by rename."""
        part = self.secrets / f".{name}.part"
        part.touch(mode=0o600)
        part.write_text(value, encoding="utf-8")
        part.rename(self.secrets / name)

    def log_text(self) -> str:
        """Read what agentd logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    # API

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask the API over its Unix socket."""
        if method == "GET" and not headers and (answer := self._ask(path)) is not None:
            return answer
        with contextlib.closing(UnixConnection(self.api_socket, timeout=PATIENCE)) as connection:
            connection.request(method, path, headers=dict(headers or {}))
            got = connection.getresponse()
            names = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, names, got.read())

    def _ask(self, path: str) -> Answer | None:
        """As `request`, in a fifth of the time that http.client takes: a suite's waiting asks some 50 000 times.

        ``None`` if the answer comes in chunks.
        """
        with contextlib.closing(UnixConnection(self.api_socket, timeout=PATIENCE)) as connection:
            connection.connect()
            connection.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            data = b"".join(iter(lambda: connection.sock.recv(1 << 20), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "chunked" in headers.get("transfer-encoding", ""):
            return None
        if len(body) != int(headers.get("content-length", -1)):
            raise ConnectionResetError(f"GET {path}: the answer ended after {len(data)} bytes")
        return Answer(int(first.split(" ")[1]), headers, body)

    def get(self, path: str) -> object:
        """Get a JSON document; anything but 200 fails the test."""
        answer = self.request("GET", path)
        assert answer.status == http.HTTPStatus.OK, f"GET {path}: {answer.status} {answer.body!r}"
        return answer.json()

    def health(self) -> HealthJson:
        """Get ``/v1/health``."""
        return cast("HealthJson", self.get("/v1/health"))

    def routes(self) -> list[str]:
        """List the paths of the API, as its own description names them."""
        return sorted(cast("dict[str, dict[str, object]]", self.get("/v1/openapi.json"))["paths"])

    def agents(self) -> dict[str, AgentJson]:
        """Get all agents by name."""
        return {agent["name"]: agent for agent in cast("list[AgentJson]", self.get("/v1/agents"))}

    def agent(self, name: str) -> AgentJson | None:
        """Get one agent, or ``None`` where there is none of that name."""
        answer = self.request("GET", f"/v1/agents/{name}")
        return cast("AgentJson", answer.json()) if answer.status == http.HTTPStatus.OK else None

    # Waiting

    def wait_for(
        self, probe: Callable[[], T | Literal[False] | None], timeout: float = PATIENCE, *, what: str = ""
    ) -> T:
        """Wait until ``probe`` returns something true; on failure show the agents and the end of the log."""
        return wait_for(probe, timeout, what=what, explain=self.explain)

    def wait_state(self, name: str, *states: str, timeout: float = PATIENCE) -> AgentJson:
        """Wait until the agent is in one of ``states`` and return its status."""

        def probe() -> AgentJson | None:
            agent = self.agent(name)
            return agent if agent is not None and agent["state"] in states else None

        return self.wait_for(probe, timeout, what=f"agent {name} is {' or '.join(states)}")

    def wait_gone(self, name: str, timeout: float = PATIENCE) -> None:
        """Wait until the API no longer knows the agent."""
        self.wait_for(lambda: self.agent(name) is None, timeout, what=f"agent {name} is gone")

    def explain(self) -> str:
        """Say what the agents and the end of the log look like, for a failure message."""
        try:
            agents = json.dumps(self.get("/v1/agents"), indent=1) if self.running else "agentd does not run"
        except (OSError, AssertionError, http.client.HTTPException, ValueError) as error:
            agents = f"the API does not answer: {error!r}"
        tail = "\n".join(self.log_text().splitlines()[-40:])
        return f"--- agents\n{agents}\n--- end of agentd's log\n{tail}"

    # tmux

    def tmux(self, *arguments: str, check: bool = True) -> str:
        """Run a tmux command against this daemon's server and return what it prints."""
        done = subprocess.run(
            ["tmux", "-S", str(self.tmux_socket), *arguments],
            capture_output=True,
            env=self.environment(),
            timeout=PATIENCE,
            check=False,
        )
        output = done.stdout.decode("utf-8", "surrogateescape")
        assert not check or done.returncode == 0, f"tmux {arguments}: {done.stderr!r}"
        return output.removesuffix("\n")

    def sessions(self) -> list[str]:
        """List the sessions of this daemon's tmux server, none if it does not run."""
        return self.tmux("list-sessions", "-F", "#{session_name}", check=False).split("\n") if self.tmux_pid() else []

    def screen(self, session: str, history: bool = False) -> str:
        """Read the text of an agent's window, with its scrollback if ``history``; empty while there is none."""
        scrollback = ["-S", "-"] if history else []
        return self.tmux("capture-pane", "-p", "-J", *scrollback, "-t", f"={session}:0", check=False)

    def type(self, session: str, text: str) -> None:
        """Type a line into an agent's terminal, as an attached operator would."""
        self.tmux("send-keys", "-t", f"={session}:0", "-l", text)
        self.tmux("send-keys", "-t", f"={session}:0", "Enter")

    def tmux_pid(self) -> int | None:
        """Of this daemon's tmux server, if it runs."""
        answer = self.tmux("display-message", "-p", "#{pid}", check=False)
        return int(answer) if answer.isdigit() else None

    # End

    def processes(self) -> list[Process]:
        """Read what runs of this daemon: itself, its tmux server, its agents and what they started."""
        return marked(str(self.bin))

    def left_behind(self) -> list[str]:
        """Say what a clean stop should have ended or removed."""
        files = [path for path in (self.api_socket, self.tmux_socket) if path.exists()]
        return [*(str(process) for process in self.processes()), *(f"file {path}" for path in files)]

    def close(self) -> list[str]:
        """End everything, remove the folder, and say what was wrong: nothing, if all is well.

        A daemon that still runs is stopped the clean way first, which then must leave nothing.
        """
        problems = []
        if self.running:
            problems += self._close_cleanly()
        left = self.left_behind() if self.stopped_cleanly else None
        problems += [f"left behind after a clean stop: {each}" for each in left or ()]
        problems += [
            f"in agentd's log: {line}"
            for line in self.log_text().splitlines()
            if any(sign in line for sign in SIGNS_OF_A_DEFECT)
        ]
        if problems:
            problems.append(self.explain())
        if left != []:
            self._end_tmux()
            end_marked(str(self.bin))
        try:
            shutil.rmtree(self.folder)
        except PermissionError:
            # Read-only checkouts are write-protected, against all but root.
            subprocess.run(["chmod", "-R", "u+w", self.folder], check=True)
            shutil.rmtree(self.folder)
        return problems

    def _close_cleanly(self) -> list[str]:
        assert self.process is not None
        sockets = [path for path in (self.api_socket, self.tmux_socket) if path.exists()]
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            # The second signal stops at once: many agents of tests use up their grace period. Where a socket is gone,
            # all agents are: it would kill a process that has only to save its coverage, which can take seconds.
            if all(path.exists() for path in sockets):
                self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return [f"agentd did not end within {PATIENCE:g} s of two SIGTERM"]
        self.stopped_cleanly = status == 0 and "keep" not in " ".join(self._arguments)
        return [] if status == 0 else [f"agentd ended with status {status}"]

    def _end_tmux(self) -> None:
        pid = self.tmux_pid()
        if pid is not None:
            self.tmux("kill-server", check=False)
            with contextlib.suppress(WaitError):
                wait_for(lambda: not alive(pid), timeout=5, what=f"tmux server {pid} ended")
                return
            # tmux 3.3a waits for a control client that does not end, as one of a killed agentd may not.
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not alive(pid), what=f"tmux server {pid} killed")


def program(name: str) -> str:
    """Find an installed command of this project."""
    path = Path(sys.executable).with_name(name)
    assert path.exists(), f"{path} is missing: install the project (make test does)"
    return str(path)
