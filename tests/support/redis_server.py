"""A Redis server of Debian's on loopback, which keeps what it was told over a kill."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.support.ports import held_port, number_of
from tests.support.waiting import wait_for

PASSWORD = "r3dis-pa55word"


def program() -> str | None:
    """The server; ``None`` if it is not installed."""
    return shutil.which("redis-server")


def certificates(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority, and its key."""
    certificate, key = folder / "broker.crt", folder / "broker.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class RedisServer:
    """One that runs from :meth:`start` on; with a certificate it takes TLS and a password alone."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self._held = held_port()
        self.port = number_of(self._held)
        self.tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []

    @property
    def url(self) -> str:
        """Without the password."""
        return f"{'redis' if self.tls is None else 'rediss'}://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        plain, encrypted = (self.port, 0) if self.tls is None else (0, self.port)
        command = [
            program() or "redis-server", "--bind", "127.0.0.1", "--port", str(plain), "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no",
        ]  # fmt: skip
        if self.tls is not None:
            certificate, key = self.tls
            command += [
                "--tls-port", str(encrypted), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
                "--tls-auth-clients", "no", "--requirepass", PASSWORD,
            ]  # fmt: skip
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers, what="Redis answers")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        """A client of its own, closed with the server: a collected one may leave its socket to a later test."""
        secure = {} if self.tls is None else {"ssl_ca_certs": str(self.tls[0]), "password": PASSWORD}
        client: redis.Redis = redis.Redis.from_url(self.url, socket_timeout=10, protocol=2, **secure)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """End it and its clients."""
        for client in self._clients:
            client.close()
        self.kill()
        self._held.close()

    def kill(self) -> None:
        """SIGKILL it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def serving(folder: Path, *, tls: bool = False) -> Iterator[RedisServer]:
    """Run one while the context is open."""
    folder.mkdir()
    server = RedisServer(folder, certificates(folder) if tls else None)
    server.start()
    try:
        yield server
    finally:
        server.close()
