"""`make coverage` measures the daemons that the tests start: what one has reached outlives it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from coverage import CoverageData

from agentd.daemon import shutdown
from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
ENDS_A_DAEMON = "tests/support/test_daemon.py::test_an_operator_can_type_and_read"


class Ending:
    """A daemon's process that the signal finds at its end, or with agents that hold it up."""

    pid = 2**22 - 1
    returncode: int | None = None

    def __init__(self, socket: Path, *, has_agents: bool) -> None:
        self.signals: list[int] = []
        self._has_agents = has_agents
        self._socket = socket
        socket.touch()

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)
        if not self._has_agents:
            self._socket.unlink()

    def wait(self, timeout: float = 0.0, /) -> int:
        if not timeout:
            raise subprocess.TimeoutExpired("agentd", timeout)
        self._socket.unlink(missing_ok=True)
        self.returncode = 0
        return 0

    def kill(self) -> None:
        raise AssertionError("it has not come to its end")


# A test may have removed one of the sockets.
@pytest.mark.parametrize("socket", ["api_socket", "tmux_socket"])
@pytest.mark.parametrize(("has_agents", "signals"), [(True, 2), (False, 1)])
def test_a_daemon_that_has_only_to_save_its_coverage_is_not_signalled_again(
    daemon_factory: Callable[[], Daemon], socket: str, has_agents: bool, signals: int
) -> None:
    daemon = daemon_factory()
    process = daemon.process = Ending(getattr(daemon, socket), has_agents=has_agents)
    daemon.patience = 0.0
    assert daemon.close() == []
    assert len(process.signals) == signals


@pytest.mark.thorough  # it imports agentd and pytest once more
def test_a_daemon_that_a_test_starts_leaves_what_it_reached(short_folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST_"))}
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "thorough", "--cov", "--cov-report=", ENDS_A_DAEMON]
    run = subprocess.run(
        argv,
        env={**environment, "COVERAGE_FILE": str(short_folder / "all")},
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    data = CoverageData(str(short_folder / "all"))
    data.read()
    lines, first = inspect.getsourcelines(shutdown.stop_agents)
    its_body = range(first + 1, first + len(lines))
    assert set(data.lines(str(Path(shutdown.__file__))) or ()) & set(its_body), run.stdout
