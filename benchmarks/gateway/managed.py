"""How long agents take that users make, one after the other, until they run.

``python -m benchmarks.gateway.managed [--agents N]``.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gateway.__main__ import BenchError, ms, tell
from tests.support import talking_claude
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway, managed_home

_TARGET = "mean at most 200 ms"


def main() -> int:
    """Measure it, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.managed", description=__doc__)
    parser.add_argument("--agents", type=int, default=200, metavar="N")
    given = parser.parse_args()
    tell("load average before", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    with tempfile.TemporaryDirectory(prefix="agentd-bench-", dir="/dev/shm") as folder:
        daemon = Daemon(Path(folder))
        gateway = Gateway(daemon)
        talking_claude.install(daemon.bin)
        daemon.write_jcard(managed_home(daemon))
        daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}")
        try:
            gateway.start()
            _make(gateway, given.agents)
        finally:
            problems = [*gateway.close(), *daemon.close()]
    tell("load average after", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


def _make(gateway: Gateway, count: int) -> None:
    tool = {"name": "delete", "seek_confirm": True}
    config = {"mcp": {"servers": {"toy": {"command": "toy", "tool_calls": [tool]}}}}
    times = []
    for number in range(count):
        begun = time.monotonic()
        body = {"username": "bob", "name": f"agent{number}", "json_config": config}
        made = gateway.ask("POST", "/agents", body)
        times.append(time.monotonic() - begun)
        if made["status"] != "running":
            raise BenchError(f"{made['agent']} is {made['status']}")
    tell(f"{count} agents, each until it runs", f"{ms(times)}, mean {sum(times) / count * 1000:.1f} ms ({_TARGET})")


if __name__ == "__main__":
    sys.exit(main())
