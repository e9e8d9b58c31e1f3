"""Somebody with an empty HOME, a terminal of 120 columns, and an agentd of their own."""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.daemon import Running, UnixConnection, launch_program, program
from tests.support.forked import AGENTCTL, launch_fork
from tests.support.ports import held_port, number_of
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
HOME = "/home/ada"
RUNTIME = "/run/user/1000"
COLUMNS, ROWS = 120, 40
DAEMON = "agentd"
GATEWAY = "agentd-gateway"
_GATEWAY_PLACE = "127.0.0.1:8765"
"""Where it listens on the pages; here it is a free port."""
TOOLS = ("curl", "git", "jq", "sqlite3", "tmux")
"""What the pages' commands need."""
_SLOW = 60.0
_LOOK_AGAIN = 0.05
DETACH = b"\x02d"
_PRESS_AGAIN = 0.1
"""tmux drops keys that come before it has the terminal, so these are pressed until it has taken them."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command showed on the terminal, and how it ended."""

    text: str
    status: int


@dataclass(slots=True)
class Newcomer:
    """A user, whoever runs this: root's defaults are elsewhere, so each place is named."""

    folder: Path
    forks: bool = False
    """Whether agentd and plain calls of agentctl may be forks of a process that has imported them."""
    where: str = HOME
    """The folder that commands are typed in, as the pages call it."""
    daemon: Running | None = None
    _daemons: list[Running] = field(default_factory=list)
    _gateway: subprocess.Popen[bytes] | None = None
    _gateway_place: str = _GATEWAY_PLACE
    _beside: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Programs of others that run beside agentd."""
    _held: list[socket.socket] = field(default_factory=list)
    """Ports that nobody else is given."""

    @property
    def home(self) -> Path:
        return self.folder / "h"

    @property
    def programs(self) -> Path:
        """A folder first on the PATH."""
        return self.folder / "bin"

    @property
    def runtime(self) -> Path:
        return self.folder / "r"

    @property
    def jcard(self) -> Path:
        return self.home / ".config/agentd/jcard.toml"

    def environment(self) -> dict[str, str]:
        # No folder that may hold a real coding agent.
        path = [self.programs, Path(sys.executable).parent, "/usr/bin", "/bin"]
        return {
            # Or no fork could be what the program would be.
            **{name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
            "HOME": str(self.home),
            "PATH": ":".join(map(str, path)),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            "PAGER": "cat",
            "LESS": "-F",
            "TZ": "UTC",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "AGENTD_AGENT_USER": _user(),
            "AGENTD_CONFIG": str(self.jcard),
            "AGENTD_SECRET_DIR": str(self.home / ".config/agentd/secrets"),
            "AGENTD_STATE_DIR": str(self.home / ".local/state/agentd"),
            "AGENTD_DATA_DIR": str(self.home / ".local/share/agentd"),
            "AGENTD_TMUX_SOCKET": str(self.runtime / "agentd/tmux.sock"),
            "AGENTD_API_SOCKET": str(self.runtime / "agentd/agentd.sock"),
            "AGENTD_GATEWAY_URL": f"http://{self._gateway_place}",
        }

    def keep_agents_at_home(self) -> None:
        """Have agents take the newcomer's home for theirs: those of a root would have the real one."""
        if os.geteuid() == 0:
            secrets = self.home / ".config/agentd/secrets"
            secrets.mkdir(parents=True, mode=0o700)
            (secrets / "HOME").write_text(str(self.home))

    def type(self, command: str, keys: bytes = b"", seen: Callable[[str], bool] = bool) -> Shown:
        """Execute one command on a terminal; `agentd` stays in a terminal of its own.

        ``keys`` are pressed once ``seen`` holds for what is shown: what goes on by itself needs them to end.
        """
        if command == DAEMON:
            self.start()
            return Shown("", 0)
        if command == GATEWAY:
            self._start_gateway()
            return Shown("", 0)
        command = command.replace(_GATEWAY_PLACE, self._gateway_place)
        begin = Start(Path(self.where.replace(HOME, str(self.home))), self.environment(), self.forks)
        return self._shown(_on_a_terminal(command, begin, keys, lambda t: seen(self.named(t))))

    def named(self, text: str) -> str:
        """The same text with the folders as the pages call them."""
        for here, there in self._places():
            text = text.replace(str(here), there)
        text = re.sub(rf"(?m)^(\S+ .* -  +){re.escape(_user())}(?=  )", r"\1ada", text)  # who sent a message
        return re.sub(rf"\bas {re.escape(_user())}\b", "as ada", text.replace(self._gateway_place, _GATEWAY_PLACE))

    def _places(self) -> Iterator[tuple[Path, str]]:
        yield self.programs, f"{HOME}/bin"
        yield self.home, HOME
        yield self.runtime, RUNTIME
        yield Path(sys.executable).parent, "/opt/agentd/bin"

    def _shown(self, shown: Shown) -> Shown:
        return Shown(self.named(shown.text), shown.status)

    def start(self) -> None:
        """Start agentd in a terminal of its own."""
        for former in self._daemons:
            # One that was killed has its locks until it is gone.
            former.wait(30)
        launch = launch_fork if self.forks else launch_program
        with (self.folder / "agentd.log").open("ab") as log:
            started = launch([program(DAEMON)], env=self.environment(), cwd=self.home, log=log)
        self._daemons.append(started)
        self.daemon = started
        wait_for(self._answers, what="agentd answers", explain=self.log)

    def _start_gateway(self) -> None:
        log = self.folder / "gateway.log"
        with log.open("ab") as file:
            command = [program(GATEWAY), "--listen=127.0.0.1:0"]
            self._gateway = subprocess.Popen(command, env=self.environment(), cwd=self.home, stdout=file, stderr=file)

        def place() -> str | None:
            lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            told = [json.loads(line) for line in lines if line.startswith("{")]
            return next((each["listen"][0] for each in told if each["event"] == "gateway_started"), None)

        self._gateway_place = wait_for(place, what="the gateway serves", explain=log.read_text)

    def port(self) -> int:
        """A port of loopback for a program beside agentd."""
        self._held.append(held_port())
        return number_of(self._held[-1])

    def start_beside(self, command: Sequence[str], output: str) -> None:
        """Start another program, which writes to a file; ``~`` is this home."""
        with Path(output.replace("~", str(self.home))).open("wb") as file:
            self._beside.append(subprocess.Popen(command, env=self.environment(), cwd=self.home, stdout=file))

    def log(self) -> str:
        """What agentd said."""
        return (self.folder / "agentd.log").read_text()

    def get(self, path: str) -> object:
        """Ask the API."""
        with closing(UnixConnection(self.runtime / "agentd/agentd.sock", 10)) as connection:
            connection.request("GET", path)
            return json.load(connection.getresponse())

    def _answers(self) -> bool:
        try:
            self.get("/v1/health")
        except OSError:
            return False
        return True

    def states(self) -> dict[str, str]:
        """The agents' states by name."""
        agents = self.get("/v1/agents")
        assert isinstance(agents, list)
        return {agent["name"]: agent["state"] for agent in agents}

    def wait_states(self, wanted: Mapping[str, str]) -> None:
        """Wait until these are the agents, in these states."""
        wait_for(lambda: self.states() == wanted, what=f"{wanted}", explain=lambda: f"{self.states()}\n{self.log()}")

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file; ``~`` is this home."""
        file = Path(path.replace("~", str(self.home)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(HOME, str(self.home)))
        file.chmod(mode)
        return file

    def leave(self) -> None:
        """C-c in the terminals of the daemon and the gateway."""
        if self._gateway is not None:
            self._gateway.send_signal(signal.SIGINT)
            assert self._gateway.wait(30) == 0
            self._gateway = None
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGINT)
            daemon.wait(30)
        for other in self._beside:
            other.kill()
            other.wait(30)
        for held in self._held:
            held.close()


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def plain_words(command: str) -> list[str] | None:
    """The words of a command that no shell would change; none for what takes a shell."""
    without_comment = re.sub(r"\s+#.*$", "", command)
    return None if re.search(r"[|&;<>()$`\\~*{}#\n]", without_comment) else shlex.split(without_comment)


@dataclass(frozen=True, slots=True)
class Start:
    """How commands are started."""

    folder: Path
    environment: Mapping[str, str]
    forks: bool

    def __call__(self, command: str, terminal: int) -> Running:
        """Start one, with this terminal as its own."""
        words = plain_words(command)
        if self.forks and words and words[0] == "agentctl" and AGENTCTL.can_start(self.environment):
            with open(terminal, "rb", 0, closefd=False) as tty:
                return AGENTCTL.start(
                    [program("agentctl"), *words[1:]],
                    env=self.environment, cwd=self.folder, stdin=tty, stdout=tty, stderr=tty, new_session=True,
                )  # fmt: skip
        return subprocess.Popen(
            ["bash", "-c", command],
            env=self.environment,
            cwd=self.folder,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            preexec_fn=functools.partial(os.login_tty, terminal),  # noqa: PLW1509 (the controlling terminal; no threads here)
        )


def _on_a_terminal(command: str, start: Start, keys: bytes, seen: Callable[[str], bool]) -> Shown:
    master, slave = os.openpty()
    termios.tcsetwinsize(master, (ROWS, COLUMNS))
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO  # keys are not what the command shows
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    process = start(command, slave)
    os.close(slave)
    shown = b""
    press = time.monotonic()
    until = press + _SLOW
    try:
        while time.monotonic() < until:
            if select.select([master], [], [], _LOOK_AGAIN)[0]:
                try:
                    part = os.read(master, 65536)
                except OSError:  # Linux's word for: nobody has the terminal open any more
                    break
                if not part:
                    break
                shown += part
            elif process.poll() is not None:
                break
            if keys and time.monotonic() > press and seen(_text(shown)):
                os.write(master, keys)
                press = time.monotonic() + _PRESS_AGAIN
                keys = keys if keys == DETACH else b""
        else:
            process.kill()
            raise AssertionError(f"{command!r} went on for {_SLOW:g} s:\n{_text(shown)}")
        return Shown(_text(shown), process.wait(_SLOW))
    finally:
        os.close(master)


def _text(shown: bytes) -> str:
    return _COLOUR.sub("", shown.decode(errors="replace")).replace("\r\n", "\n")


@contextmanager
def newcomer(parent: Path = Path("/tmp"), *, forks: bool = False) -> Iterator[Newcomer]:
    """A newcomer in a folder that is gone afterwards, with all that was started."""
    folder = Path(tempfile.mkdtemp(prefix="agentd-", dir=parent))
    try:
        made = Newcomer(folder, forks)
        for each in (made.home, made.runtime, made.programs):
            each.mkdir(mode=0o700)
        for name in TOOLS:
            if (found := shutil.which(name)) is not None:
                (made.programs / name).symlink_to(found)
        (made.programs / "claude").symlink_to(ROOT / "examples/stand-in/claude")
        (folder / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        try:
            yield made
        finally:
            made.leave()
    finally:
        shutil.rmtree(folder)
