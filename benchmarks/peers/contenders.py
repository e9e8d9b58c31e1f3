"""The supervisors, each with its own way to be told what to run; everything else about them is the same."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import children, exists
from benchmarks.subject import table
from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".cache/peers"
PROBES = Path(__file__).parent / "probes"
PATIENCE = 120.0

_AGENT = """\
trap 'exit 0' INT TERM
exec 3<>"$3"
printf '%s\\n' "$1 $$" 1<>"$2"
while :; do read -r _ <&3; done
"""
"""Reports itself in the FIFO of the roll call and then waits in the other one, at no cost, whatever its stdin is."""


class PeerError(RuntimeError):
    """A supervisor did not do what is to be measured."""


class Contender(ABC):
    """One supervisor in a folder of its own.

    Parameters
    ----------
    folder
        Its path must be short, for sockets.
    roll
        The FIFO in which agents report.
    """

    name: str

    def __init__(self, folder: Path, roll: Path) -> None:
        self.folder = folder
        self._roll = roll
        self._script = folder / "agent.sh"
        self._script.write_text(_AGENT)
        self._wait = folder / "wait"
        os.mkfifo(self._wait)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("wb")

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Say what is not installed."""

    @abstractmethod
    def start(self, names: Sequence[str]) -> None:
        """Start the supervisor with these agents, to be restarted at once whenever they end."""

    @abstractmethod
    def add(self, name: str) -> None:
        """Add an agent to the supervisor that runs, in the way its documentation says."""

    @abstractmethod
    def end(self) -> None:
        """Ask the supervisor to stop everything and end itself."""

    @abstractmethod
    def probe(self) -> Sequence[str]:
        """The command of a program that waits until the supervisor shows another pid; see the folder probes."""

    def pids(self) -> list[int]:
        """The processes of the supervisor that are no agents."""
        assert self._process is not None
        return [self._process.pid]

    def argv(self, name: str) -> list[str]:
        """The command line of an agent."""
        return ["/bin/sh", str(self._script), name, str(self._roll), str(self._wait)]

    def environment(self) -> dict[str, str]:
        """A HOME of its own."""
        return {**os.environ, "HOME": str(self.folder), "PM2_HOME": str(self.folder / "pm2")}

    def spawn(self, *argv: str | Path) -> None:
        """Start the supervisor in the foreground."""
        self._process = subprocess.Popen(
            [str(word) for word in argv],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def call(self, *argv: str | Path) -> None:
        """Run a command of the supervisor to its end."""
        done = subprocess.run(
            [str(word) for word in argv],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise PeerError(f"{' '.join(map(str, argv))}: {done.stdout[-500:]}{done.stderr[-500:]}")

    def reap(self) -> None:
        """Wait for the supervisor's process, which is ours."""
        if self._process is not None:
            self._process.wait(PATIENCE)

    def close(self) -> None:
        """End the supervisor's processes, if any are left."""
        if self._process is not None:
            left = [*self.pids(), *children(self._process.pid)] if exists(self._process.pid) else []
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._log.close()


class Agentd(Contender):
    """This project."""

    name = "agentd"

    def __init__(self, folder: Path, roll: Path) -> None:
        super().__init__(folder, roll)
        (folder / "d").mkdir()
        self._daemon = Daemon(folder / "d")
        self._text = ""

    @classmethod
    def missing(cls) -> str | None:
        return None

    def _table(self, name: str) -> str:
        return table(name, self.argv(name), more=('restart = "always"', 'restart_delay = "1ms"'))

    def start(self, names: Sequence[str]) -> None:
        self._text = "".join(map(self._table, names))
        self._daemon.write_jcard(self._text)
        self._daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}", "--log-format=json", ready=False)

    def add(self, name: str) -> None:
        self._text += self._table(name)
        self._daemon.write_jcard(self._text)

    def end(self) -> None:
        self._daemon.signal(signal.SIGTERM)

    def reap(self) -> None:
        self._daemon.wait_exit(PATIENCE)
        self._daemon.stopped_cleanly = True

    def probe(self) -> Sequence[str]:
        return [sys.executable, str(PROBES / "agentd_probe.py"), str(self._daemon.api_socket)]

    def pids(self) -> list[int]:
        server = self._daemon.tmux_pid()
        return [self._daemon.pid, *children(self._daemon.pid), *([server] if server else [])]

    def close(self) -> None:
        for problem in self._daemon.close():
            print(f"warning: {problem}", file=sys.stderr)
        self._log.close()


class Supervisord(Contender):
    """supervisord, whose programs stand in files that it includes."""

    name = "supervisord"
    _bin = PEERS / "python/bin"

    @classmethod
    def missing(cls) -> str | None:
        return None if (cls._bin / "supervisord").exists() else "supervisord"

    def _program(self, name: str) -> str:
        return f"[program:{name}]\ncommand={' '.join(self.argv(name))}\nautorestart=true\nstopwaitsecs=10\n\n"

    def start(self, names: Sequence[str]) -> None:
        self._socket = self.folder / "s.sock"
        (self.folder / "conf.d").mkdir()
        (self.folder / "s.conf").write_text(
            f"[unix_http_server]\nfile={self._socket}\n"
            f"[supervisord]\nnodaemon=true\nlogfile={self.folder}/s.log\npidfile={self.folder}/s.pid\n"
            f"childlogdir={self.folder}\nminfds=4096\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self._socket}\n"
            f"[include]\nfiles={self.folder}/conf.d/*.ini\n"
        )
        (self.folder / "conf.d/all.ini").write_text("".join(map(self._program, names)))
        self.spawn(self._bin / "supervisord", "-c", self.folder / "s.conf")

    def add(self, name: str) -> None:
        (self.folder / f"conf.d/{name}.ini").write_text(self._program(name))
        self.call(self._bin / "supervisorctl", "-c", self.folder / "s.conf", "update")

    def end(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def probe(self) -> Sequence[str]:
        return [str(self._bin / "python"), str(PROBES / "supervisord_probe.py"), str(self._socket)]


class Circus(Contender):
    """circus, a watcher for each agent."""

    name = "circus"
    _bin = PEERS / "python/bin"

    @classmethod
    def missing(cls) -> str | None:
        return None if (cls._bin / "circusd").exists() else "circus"

    def start(self, names: Sequence[str]) -> None:
        self._endpoint = f"ipc://{self.folder}/c.ep"
        watchers = [
            f"[watcher:{name}]\ncmd={' '.join(self.argv(name))}\ncopy_env=true\nwarmup_delay=0\n\n" for name in names
        ]
        (self.folder / "c.ini").write_text(
            f"[circus]\nendpoint={self._endpoint}\npubsub_endpoint=ipc://{self.folder}/p.ep\nstatsd=false\n"
            f"warmup_delay=0\n\n{''.join(watchers)}"
        )
        self.spawn(self._bin / "circusd", self.folder / "c.ini")

    def add(self, name: str) -> None:
        words = self.argv(name)
        self.call(self._bin / "circusctl", "--endpoint", self._endpoint, "add", "--start", name, *words)

    def end(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def probe(self) -> Sequence[str]:
        return [str(self._bin / "python"), str(PROBES / "circus_probe.py"), self._endpoint]


class Pm2(Contender):
    """pm2, whose daemon its own command starts."""

    name = "pm2"
    _bin = PEERS / "node/node_modules/.bin/pm2"

    @classmethod
    def missing(cls) -> str | None:
        return None if cls._bin.exists() else "pm2"

    def _app(self, name: str) -> Mapping[str, object]:
        shell, script, *arguments = self.argv(name)
        return {"name": name, "script": script, "args": arguments, "interpreter": shell, "restart_delay": 0}

    def _apps(self, file: str, names: Sequence[str]) -> Path:
        path = self.folder / f"{file}.config.json"
        path.write_text(json.dumps({"apps": [self._app(name) for name in names]}))
        return path

    def start(self, names: Sequence[str]) -> None:
        self.spawn(self._bin, "start", self._apps("all", names))

    def add(self, name: str) -> None:
        self.call(self._bin, "start", self._apps(name, [name]))

    def end(self) -> None:
        self.spawn(self._bin, "kill")

    def pids(self) -> list[int]:
        path = self.folder / "pm2/pm2.pid"
        deadline = time.perf_counter() + 10
        while not path.exists() and time.perf_counter() < deadline:
            time.sleep(0.05)
        return [int(path.read_text())] if path.exists() else []

    def close(self) -> None:
        for pid in self.pids() if (self.folder / "pm2/pm2.pid").exists() else []:
            if exists(pid):
                self.call(self._bin, "kill")
        super().close()

    def probe(self) -> Sequence[str]:
        return ["node", str(PROBES / "pm2_probe.js"), str(PEERS / "node/node_modules/pm2")]


CONTENDERS: tuple[type[Contender], ...] = (Agentd, Supervisord, Circus, Pm2)


def versions() -> dict[str, str]:
    """The versions that are installed."""
    found = {}
    for folder in (PEERS / "python/lib").glob("python*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if name in ("supervisor", "circus"):
            found[name] = version
    package = PEERS / "node/node_modules/pm2/package.json"
    if package.exists():
        found["pm2"] = json.loads(package.read_text())["version"]
        found["node"] = subprocess.check_output(["node", "--version"], text=True).strip()
    return found
