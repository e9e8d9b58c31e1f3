"""A host of a fleet on Ray, as the tests begin and break it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from agentd.fleet.ray_node import ray_environment
from agentd.settings.sockets import fleet_socket
from tests.support.daemon import Daemon, UnixConnection, program
from tests.support.waiting import wait_for

_START = 200.0


class Host:
    """An agentd with agentd-fleet beside it: folders, and an address, of its own."""

    def __init__(self, name: str, ip: str, daemon: Daemon) -> None:
        self.name, self.ip, self.daemon = name, ip, daemon
        self.log = daemon.folder / "fleet.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.more: Mapping[str, str] = {}
        """Variables of its agentd-fleet."""
        self.through: tuple[str, ...] = ()
        """What its agentd-fleet is started by."""
        self.slots = 40
        self._arguments: tuple[str, ...] = ()

    def start(self, *arguments: str) -> None:
        """Start agentd-fleet there."""
        self._arguments = arguments
        places = {name: value for name, value in self.daemon.places.items() if name != "AGENTD_STATE_DIR"}
        environment = {**self.daemon.environment(), **places, **self.more}
        # Sockets of Ray below it: a short one.
        state = self.daemon.folder / "s"
        own = ("--name", self.name, "--ip", self.ip, "--slots", str(self.slots), "--state-dir", str(state))
        command = [*self.through, program("agentd-fleet"), *arguments, *own]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=ray_environment(environment), stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self) -> None:
        """Wait until it says that this is a host of the fleet; one that gave up is begun again, as its service does."""
        wait_for(self._is_ready, _START, explain=self.log.read_text)

    def _is_ready(self) -> bool:
        if "is a host of the fleet" in self.log.read_text():
            return True
        if self.process is not None and self.process.poll() == 1:
            # On a busy machine Ray gives up at times.
            self.start(*self._arguments)
        return False

    @property
    def processes(self) -> list[psutil.Process]:
        """All that belongs to agentd-fleet: Ray, and the actors."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def each(self, do: Callable[[psutil.Process], None]) -> list[psutil.Process]:
        """Do something with each of them."""
        everyone = self.processes
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                do(process)
        return everyone

    def kill(self) -> None:
        """SIGKILL all but agentd and its agents: a host that is cut off, and has to find back."""
        self.each(psutil.Process.suspend)
        psutil.wait_procs(self.each(psutil.Process.kill), timeout=10)
        if self.process is not None:
            self.process.wait(10)

    def stop(self) -> None:
        """End agentd-fleet in order, and what is left of it by force."""
        everyone = self.processes
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(25)
        for process in psutil.wait_procs(everyone, timeout=5)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Ask the fleet at this host."""
        connection = UnixConnection(fleet_socket(self.daemon.api_socket), timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)

    def agentctl(self, *arguments: str) -> str:
        """Have agentctl print something."""
        environment = {**self.daemon.environment(), **self.daemon.places}
        command = [program("agentctl"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> bool:
        """Whether the fleet's Controller is heard here."""
        with contextlib.suppress(AssertionError, OSError):
            return bool(self.ask("GET", "/v1/fleet"))
        return False

    def fleet_hosts(self) -> list[Any]:
        """Give the hosts that the fleet knows; none while it does not answer, as on a busy machine at times."""
        with contextlib.suppress(AssertionError, OSError):
            return list(self.ask("GET", "/v1/fleet/hosts"))
        return []

    def running(self) -> dict[str, int]:
        """Give the pids of the agents that run here, by name."""
        agents = self.daemon.agents()
        return {name: shown["pid"] or 0 for name, shown in agents.items() if shown["state"] == "running"}
