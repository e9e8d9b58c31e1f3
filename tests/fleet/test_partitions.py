"""A fleet of three hosts on Ray, each in a network namespace of its own: cables are taken out, and the head is killed.

Agents hold a lock of the kernel while they run, on all hosts the same: one that finds it taken says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.test_losses import Cluster
from tests.support.daemon import Daemon
from tests.support.network import Place, lacks_network, network
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(500), needs_ray]

_PATIENCE = 200.0
_PORT = 6379

# As systemd does: whatever ends is begun again, until one is told to end.
_LASTING = 'trap "kill \\$!; wait \\$!; exit" TERM; while :; do "$@" & wait $!; sleep 1 & wait $!; done'


class Network(Cluster):
    """Hosts whose cables may be taken out."""

    def __init__(self, daemons: list[Daemon], marks: Path, places: list[Place]) -> None:
        super().__init__(daemons, marks, _PORT)
        self.places = places
        for host, place in zip(self.hosts, places, strict=True):
            host.ip = place.address
            host.through = (*place.enter, "sh", "-c", _LASTING, "agentd-fleet")

    @property
    def head(self) -> str:
        return f"{self.places[0].address}:{self.port}"

    def lost(self) -> set[str]:
        return {name for name, state in self.states().items() if state in ("lost", "fenced")}

    def wait_even(self, agents: int) -> None:
        """All hosts are heard, all agents run, and each host takes its part."""

        def even() -> bool:
            if list(self.states().values()) != ["ready"] * len(self.hosts):
                return False
            with contextlib.suppress(AssertionError, OSError):
                self.hosts[0].ask("POST", "/v1/fleet/rebalance", {"dry_run": False})
            return sum(self.spread()) == agents and min(self.spread()) > 0

        wait_for(even, _PATIENCE, what="all run, on all hosts", explain=self.explain)
        self.check()


@pytest.fixture
def cluster(daemon_factory: Callable[[], Daemon], tmp_path: Path) -> Iterator[Network]:
    if why := lacks_network():
        pytest.skip(f"no network namespaces: {why}")
    with network(3) as places:
        made = Network([daemon_factory() for _ in range(3)], tmp_path, places)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_nothing_runs_twice_however_the_network_breaks(cluster: Network) -> None:
    one = cluster.hosts[0]
    head, *others = cluster.places
    cluster.apply(6)
    cluster.wait_spread(2, 2, 2)

    # The head is cut off from all, shorter than the lease; what finds back in time goes on.
    head.cut()
    wait_for(lambda: cluster.lost() == {"two", "three"}, _PATIENCE, explain=cluster.explain)
    head.mend()
    cluster.wait_even(6)

    # Two are cut off for longer: one in both directions, the other hears the head, and cannot answer.
    others[0].cut()
    others[1].silence(head)
    wait_for(
        lambda: cluster.states() == {"one": "ready", "two": "fenced", "three": "fenced"}, _PATIENCE,
        explain=cluster.explain,
    )  # fmt: skip
    cluster.wait_spread(6, 0, 0)
    others[0].mend()
    others[1].hear(head)
    cluster.wait_even(6)

    # All of the head's Ray is killed, and another one begun at once, which the other hosts' Ray does not know.
    one.kill()
    cluster.join(one)
    cluster.wait_even(6)


def test_agents_end_while_the_head_is_away_for_longer_than_a_lease_and_run_once_it_is_back(cluster: Network) -> None:
    one, head = cluster.hosts[0], cluster.places[0]
    cluster.apply(6)
    cluster.wait_spread(2, 2, 2)

    # It is cut off from all. Those of the others end by themselves; its own Controller goes on, and has them run there.
    head.cut()
    cluster.wait_spread(6, 0, 0)
    head.mend()
    cluster.wait_even(6)

    # It has lost its power, but for its agentd: there is no Controller, and all end where they are.
    one.kill()
    cluster.wait_spread(0, 0, 0)
    cluster.join(one)
    cluster.wait_even(6)
