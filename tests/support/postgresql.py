"""A PostgreSQL server of Debian's on loopback, as an ordinary user, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg

from agentd.gateway.store.database import open_database
from tests.support.ports import a_port
from tests.support.waiting import wait_for

_USER = "agentd"
_MIGRATED = "migrated"
_LOG = "postgresql.log"
_READY = b"database system is ready to accept connections"

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "autovacuum": "off",
}


def programs() -> Path | None:
    """The folder of the newest server there is; ``None`` if there is none."""
    folders = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "initdb").exists()]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


@dataclass(slots=True)
class Server:
    """A server that runs."""

    port: int
    command: Sequence[str]
    uid: int | None
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def start(self) -> None:
        """Start it, and wait until it serves."""
        before = self.log.read_bytes().count(_READY)

        def serves() -> bool:
            # Its port may be another one's for a moment.
            if self.process is None or self.process.poll() is not None:
                with self.log.open("ab") as log:
                    self.process = subprocess.Popen(self.command, stdout=log, stderr=log, user=self.uid, cwd="/")
            return self.log.read_bytes().count(_READY) > before

        wait_for(serves, what="PostgreSQL is ready")

    def crash(self) -> None:
        """End it as a crash would: connections break, and the next start recovers."""
        assert self.process is not None, "it was not started"
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    async def database(self) -> str:
        """Make a database; returns its URL."""
        name = f"test_{next(self._numbers)}"
        connection = await asyncpg.connect(host="127.0.0.1", port=self.port, user=_USER, database="postgres")
        try:
            if name == "test_1":
                await connection.execute(f"CREATE DATABASE {_MIGRATED}")
                # As migrations leave it: they would take 0.3 s in each test.
                await (await open_database(self._url(_MIGRATED))).close()
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_MIGRATED}")
        finally:
            await connection.close()
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://{_USER}@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server while the context is open; root runs it as ``postgres``, since it refuses to run as root."""
    with a_port() as port:
        yield from _serving(folder, port)


def _serving(folder: Path, port: int) -> Iterator[Server]:
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    uid = None if user is None else user.pw_uid
    # The folders of tests are not for other users.
    data = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp")) / "data"
    if user is not None:
        os.chown(data.parent, user.pw_uid, user.pw_gid)
    try:
        with (folder / _LOG).open("ab") as log:
            bin_folder = programs()
            assert bin_folder is not None
            initdb = [
                str(bin_folder / "initdb"),
                "-D",
                str(data),
                "-U",
                _USER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ]
            subprocess.run([*initdb, "--no-locale"], check=True, stdout=log, stderr=log, user=uid, cwd="/")
            settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
            command = [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), *settings]
        server = Server(port, command, uid, folder / _LOG)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(data.parent)
