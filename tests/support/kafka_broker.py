"""tansu, a Kafka-compatible broker, on loopback; what it was told stands in an object store, and outlives a kill."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import object_store
from tests.support.ports import held_port, number_of
from tests.support.waiting import wait_for

_FETCHED = Path(__file__).parents[2] / ".cache/brokers/tansu"


def program() -> Path | None:
    """The broker; ``None`` if it was not fetched."""
    found = Path(os.environ.get("AGENTD_TEST_TANSU", _FETCHED))
    return found if found.exists() else None


class KafkaBroker:
    """One that runs from :meth:`start` on."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self._held = held_port()
        self.port = number_of(self._held)
        self.door: int | None = None
        """The port that clients are told of, if it is not the own one."""
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        found = program()
        assert found is not None, "tests/gateway/fetch-brokers fetches it"
        told = f"tcp://127.0.0.1:{self.door or self.port}"
        command = [
            str(found), "--listener-url", f"tcp://{self.server}", "--advertised-listener-url", told, "--storage-engine",
            f"s3://{object_store.BUCKET}/",
        ]  # fmt: skip
        environment = {
            "AWS_ENDPOINT": self._store,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": "us-east-1",
        }
        with (self.folder / "tansu.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)
        wait_for(self._listens, what="the broker listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "tansu.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        """SIGKILL it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it, and give its port back."""
        self.kill()
        self._held.close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[KafkaBroker]:
    """Make one for the context; it is not started."""
    folder.mkdir()
    with object_store.serving() as store:
        broker = KafkaBroker(folder, store)
        try:
            yield broker
        finally:
            broker.close()
