"""The server by HTTP."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.mcp.conftest import mcp_command
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

_SERVING = re.compile(r"serving (http://\S+)")


@dataclass(frozen=True)
class Http:
    """A server that runs."""

    url: str
    log: str
    """What it said at its start."""


@contextmanager
def http_server(daemon: Daemon, *flags: str, **env: str) -> Iterator[Http]:
    """Run ``agentctl mcp --http`` until the end."""
    path = daemon.folder / "mcp.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            mcp_command(daemon, "--http=127.0.0.1:0", *flags),
            env=daemon.environment(**env),
            cwd=daemon.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            found = wait_for(lambda: _SERVING.search(path.read_text()), 30, what="it says where it listens")
            yield Http(found[1], path.read_text())
        finally:
            process.terminate()
            process.wait(20)
