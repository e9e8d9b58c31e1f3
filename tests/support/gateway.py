"""A real agentd-gateway beside a real agentd: its sockets, its API, its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.daemon import (
    SIGNS_OF_A_DEFECT,
    Answer,
    Daemon,
    Launch,
    Running,
    UnixConnection,
    launch_program,
    program,
)
from tests.support.waiting import PATIENCE

STARTED = "gateway_started"

NATIVE = 'managed_type = "native"\n'
"""Of the table ``[gateway]``."""


def managed_home(daemon: Daemon, *, table: bool = False) -> str:
    """Give managed agents the test's HOME, for a jcard: agentd notes in theirs that their folders are trusted.

    Where root runs the tests it would be that of the account. They are native, wherever the tests run: their programs
    stand in this clone, which a sandbox need not show.

    Parameters
    ----------
    table
        Whether the jcard has a table ``[gateway]``, which says that they are native.
    """
    native = "" if table else f"[gateway]\n{NATIVE}"
    return f'{native}[gateway.managed_env]\nHOME = "{daemon.home}"\n'


class Gateway:
    """An agentd-gateway on a Unix socket and a free port of loopback; nothing runs until :meth:`start`."""

    def __init__(self, daemon: Daemon, launch: Launch = launch_program) -> None:
        self.daemon = daemon
        self._launch = launch
        self.socket = daemon.runtime / "gateway.sock"
        self.log = daemon.folder / "gateway.log"
        self.process: Running | None = None
        self.port = 0
        self._before = 0
        self._arguments: tuple[str, ...] = ()
        self._env: Mapping[str, str] = {}

    @property
    def url(self) -> str:
        """Of the port on loopback."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def command(self, *arguments: str, listen: Sequence[str] | None = None) -> list[str]:
        """Build the command line with the daemon's folders."""
        daemon = self.daemon
        addresses = [f"unix:{self.socket}", "127.0.0.1:0"] if listen is None else listen
        return [
            program("agentd-gateway"),
            f"--config={daemon.jcard}",
            f"--secret-dir={daemon.secrets}",
            f"--api-socket={daemon.api_socket}",
            f"--state-dir={daemon.state}",
            f"--data-dir={daemon.data}",
            "--log-format=json",
            *(f"--listen={address}" for address in addresses),
            *arguments,
        ]

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, listen: Sequence[str] | None = None) -> None:
        """Start the gateway, and wait until it serves."""
        self.launch(*arguments, env=env, listen=listen)
        self.daemon.wait_for(self._has_started, what="the gateway serves")

    def launch(
        self, *arguments: str, env: Mapping[str, str] | None = None, listen: Sequence[str] | None = None
    ) -> Running:
        """Start the gateway without waiting for it."""
        assert not self.running, "the gateway runs already"
        self._arguments, self._env = arguments, env or {}
        self._before = len(self._events(STARTED))
        with self.log.open("ab") as log:
            self.process = self._launch(
                self.command(*arguments, listen=listen),
                env=self.daemon.environment(**self._env),
                cwd=self.daemon.folder,
                log=log,
            )
        return self.process

    def _has_started(self) -> bool:
        assert self.running, f"the gateway ended\n{self.log_text()}"
        started = self._events(STARTED)
        if len(started) <= self._before:
            return False
        ports = [each.rpartition(":")[2] for each in started[-1]["listen"] if not each.startswith("unix:")]
        self.port = int(ports[0]) if ports else 0
        return True

    def stop(self, timeout: float = PATIENCE, number: int = signal.SIGTERM) -> int:
        """Ask the gateway to end and return its exit status."""
        assert self.process is not None, "the gateway was not started"
        self.process.send_signal(number)
        return self.wait_exit(timeout)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        """Wait until it ended and return its exit status, negative for a signal."""
        assert self.process is not None, "the gateway was not started"
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway still runs after {timeout:g} s\n{self.log_text()}") from None

    def kill(self) -> None:
        """SIGKILL it."""
        assert self.process is not None, "the gateway was not started"
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Stop it if it runs, and start it again with the same arguments."""
        if self.running:
            self.stop()
        self.start(*self._arguments, env=self._env)

    def log_text(self) -> str:
        """Read what it logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    # API

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """Ask over the Unix socket; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {
            **({} if body is None else {"Content-Type": "application/json"}),
            **({} if token is None else {"Authorization": f"Bearer {token}"}),
            **(headers or {}),
        }
        with contextlib.closing(UnixConnection(self.socket, timeout=timeout)) as connection:
            connection.request(method, path, data, given)
            got = connection.getresponse()
            names = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, names, got.read())

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:  # noqa: ANN401
        """Ask, and parse the answer; a status of 400 or above fails the test."""
        answer = self.request(method, path, body, token=token)
        assert answer.status < http.HTTPStatus.BAD_REQUEST, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json()

    # End

    def close(self) -> list[str]:
        """End it, and say what was wrong: nothing, if all is well."""
        problems = []
        if self.running:
            status = self.stop()
            problems += [] if status == 0 else [f"the gateway ended with status {status}"]
            problems += [f"left behind by the gateway: {self.socket}"] if self.socket.exists() else []
        problems += [
            f"in the gateway's log: {line}"
            for line in self.log_text().splitlines()
            if any(sign in line for sign in (*SIGNS_OF_A_DEFECT, "gateway_request_failed"))
        ]
        return problems
