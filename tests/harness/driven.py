"""A real agent CLI driven by agentd from a jcard, and what the tests of it share."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
import pytest

from tests.harness.real_clis import RealCli
from tests.harness.stub_model import StubModel
from tests.support.agents import jcard
from tests.support.daemon import Daemon, program
from tests.support.waiting import wait_for

_EACH = [pytest.mark.timeout(600), pytest.mark.usefixtures("_no_other_host")]
REAL = [pytest.mark.clis, *_EACH]
"""Marks of a module of tests. Each test takes 2 to 10 s on an idle machine, and ten times that on a loaded one."""
DAYS = [pytest.mark.days, pytest.mark.timeout(1800), _EACH[1]]
"""Marks of a module of long conversations."""

DEADLINE = 240.0
GRACE = 120.0
"""Seconds; so long that SIGTERM, at half of it, has no part in a stop that C-c should bring about."""

KEY = "sk-ant-api-0123456789abcdefghij"


@dataclass(frozen=True, slots=True)
class DrivenCli:
    """A running agentd whose jcard can be pointed at one CLI."""

    daemon: Daemon
    cli: RealCli
    env: dict[str, str]
    fields: Mapping[str, object] = field(default_factory=dict)
    """What the jcard says of the agent beside these."""

    def declare(self, **fields: object) -> None:
        """Write the jcard: one agent, named ``agent``."""
        model = {} if self.cli.model is None else {"model": self.cli.model}
        common = {"name": "agent", "harness": self.cli.harness, "workdir": str(self.daemon.workdir), "env": self.env}
        self.daemon.write_jcard(jcard({**common, **model, **self.fields, "grace_period": f"{GRACE:g}s", **fields}))

    def wait_on_screen(self, text: str) -> None:
        """Wait until the agent's window shows a text."""
        wait_for(
            lambda: text in self._shown(),
            DEADLINE,
            what=f"{text!r} is on the screen",
            explain=lambda: f"{self._shown()}\n{self.daemon.explain()}",
        )

    def _shown(self) -> str:
        return self.daemon.screen("agent", history=True) if "agent" in self.daemon.sessions() else ""

    def run_id(self) -> str:
        """Give what marks every process of the running agent."""
        agent = self.daemon.wait_state("agent", "running", timeout=DEADLINE)
        assert agent["pid"] is not None
        return psutil.Process(agent["pid"]).environ()["AGENTD_RUN_ID"]


def agentctl(driven: DrivenCli, *arguments: str) -> None:
    """Run it against the daemon; what is to be sent, once the agent runs."""
    if arguments[0] == "send":
        driven.daemon.wait_state(arguments[1], "running", timeout=DEADLINE)
    timeout = [f"--timeout={DEADLINE:g}s"] if arguments[0] == "send" else []
    sockets = [f"--api-socket={driven.daemon.api_socket}", f"--tmux-socket={driven.daemon.tmux_socket}"]
    done = subprocess.run(
        [program("agentctl"), *sockets, *arguments, *timeout], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}\n{driven.daemon.screen('agent')}"


def output_of(driven: DrivenCli, *arguments: str, status: int = 0) -> str:
    """Give what agentctl prints; unlike `agentctl` with all flags that say where the daemon is."""
    daemon = driven.daemon
    sockets = [f"--tmux-socket={daemon.tmux_socket}", f"--api-socket={daemon.api_socket}"]
    files = [f"--config={daemon.jcard}", f"--secret-dir={daemon.secrets}", f"--state-dir={daemon.state}"]
    done = subprocess.run(
        [program("agentctl"), *sockets, *files, f"--data-dir={daemon.data}", *arguments],
        cwd=daemon.workdir,
        env=daemon.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE + GRACE,
    )
    assert done.returncode == status, f"{arguments}: {done.stdout}{done.stderr}\n{daemon.explain()}"
    return done.stdout


def asked(model: StubModel, text: str) -> bool:
    """Whether the model received the text, with what a CLI may put around it."""
    return any(text in each for turn in model.turns for each in turn.texts)
