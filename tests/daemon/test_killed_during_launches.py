"""SIGKILL at any moment of a launch: afterwards each agent ran exactly once, and runs."""

from __future__ import annotations

import os
import random

import pytest

from tests.daemon.support import counting, declare, lives_on, pids, running, runs
from tests.support.daemon import Daemon
from tests.support.thorough import everyday

BATCH = 12
SEED = int(os.environ.get("AGENTD_TEST_SEED", "7"))


def begun(daemon: Daemon, count: int) -> None:
    """Wait until so many agents have noted a run."""
    daemon.wait_for(lambda: len(list(daemon.folder.glob("*.runs"))) >= count, 30)


def opened(daemon: Daemon, count: int) -> None:
    """Wait until there are more sessions than that."""
    daemon.wait_for(lambda: len(daemon.sessions()) > count, 30)


@pytest.mark.thorough
@pytest.mark.parametrize("signalled_by", everyday(["agents"], ["agents", "sessions", "time"]))
def test_a_daemon_killed_while_it_launches_leaves_each_agent_one_run(daemon: Daemon, signalled_by: str) -> None:
    chance = random.Random(f"{SEED} {signalled_by}")
    agents: list[dict[str, object]] = []
    for number in range(3):
        agents += [
            counting(f"a{number}-{index}", daemon.folder, "exec sleep 600", restart="no") for index in range(BATCH)
        ]
        declare(daemon, *agents)
        daemon.start(ready=False)
        enough = len(agents) - BATCH + chance.randrange(1, BATCH)
        match signalled_by:
            case "agents":
                begun(daemon, enough)
            case "sessions":
                opened(daemon, enough)
            case _:
                daemon.wait_for(daemon.api_socket.exists, 30)
                lives_on(daemon, chance.uniform(0.0, 0.2))
        daemon.kill()
    daemon.start()
    names = [str(agent["name"]) for agent in agents]
    found = running(daemon, *names, timeout=40)
    daemon.wait_for(lambda: all(runs(daemon.folder, name) for name in names), what="every agent noted its run")
    assert {name: runs(daemon.folder, name) for name in names} == {name: [pid] for name, pid in found.items()}
    assert pids(daemon) == found
    assert sorted(set(daemon.sessions()) - {"_agentd"}) == sorted(names)
