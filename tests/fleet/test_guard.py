from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.fleet.guard import Held, Leased, hold
from agentd.fleet.guarding import Guard
from agentd.jcard.edit.drop_ins import write_drop_in
from agentd.launch.census import Instance
from tests.support.daemon import Daemon
from tests.support.processes import marked
from tests.support.waiting import wait_for

LEASED = Leased(renewed=1000.0, lease=30.0, grace=5.0)


def test_a_lease_is_counted_from_the_renewal_that_was_seen() -> None:
    held = hold({}, {"x": LEASED}, 50.0, 1000.0)
    assert not held["x"].over(85.0)
    assert held["x"].over(86.0)
    again = hold(held, {"x": Leased(1007.0, 30.0, 5.0)}, 57.0, 9e9)
    assert not again["x"].over(92.0), "a wrong wall clock ends no lease"
    assert again["x"].over(93.0)


def test_who_starts_believes_what_the_file_says() -> None:
    assert hold({}, {"x": LEASED}, 50.0, 1020.0)["x"] == Held(LEASED, 30.0)
    assert hold({}, {"x": LEASED}, 50.0, 900.0)["x"].since == 50.0, "a file of the future is one of now"


def test_what_is_withdrawn_is_not_forgotten() -> None:
    held = hold({}, {"x": LEASED}, 50.0, 1000.0)
    assert hold(held, {}, 60.0, 1010.0) == held


def test_the_longest_lease_and_grace_period_count() -> None:
    held = hold({}, {"x": LEASED}, 50.0, 1000.0)
    shorter = hold(held, {"x": Leased(1001.0, 2.0, 1.0)}, 51.0, 1001.0)
    assert shorter["x"].drop_in == Leased(1001.0, 30.0, 5.0)


STUBBORN = """
[drop_in]
lease = "1s"

[agent]
name = "x"
harness = "custom"
grace_period = "500ms"
command = ["sh", "-c", "trap '' TERM INT; while :; do sleep 0.1; done"]
"""


@pytest.fixture
def guard(daemon: Daemon) -> Guard:
    said: list[str] = []
    return Guard(
        daemon.drop_ins / "fleet", daemon.api_socket, daemon.tmux_socket, daemon.runtime,
        Instance.of(daemon.state, Path("/nowhere")), said.append, notice=0.5,
    )  # fmt: skip


def look_until(guard: Guard, probe: Callable[[], object]) -> None:
    def looked() -> bool:
        guard.look()
        return bool(probe())

    wait_for(looked)


def test_where_agentd_is_dead_agents_end_with_their_lease(daemon: Daemon, guard: Guard) -> None:
    daemon.write_jcard("")
    path = daemon.drop_ins / "fleet" / "x.toml"
    write_drop_in(path, STUBBORN.replace('"1s"', '"1h"'))
    daemon.start()
    pid = daemon.wait_state("x", "running")["pid"]
    daemon.kill()
    guard.look()
    assert runs(daemon, pid)
    # A Node that is cut off takes it back: the guard has to know of it nevertheless.
    path.unlink()
    guard._held = hold({}, {"x": Leased(time.time() - 7200, 3600.0, 0.1)}, time.monotonic(), time.time())
    look_until(guard, lambda: not runs(daemon, pid))
    daemon.start()
    wait_for(lambda: not daemon.agents(), what="what has no drop-in is gone")


def runs(daemon: Daemon, pid: int | None) -> bool:
    return any(each.pid == pid for each in marked(str(daemon.bin)))


def test_a_lease_that_ended_while_agentd_was_dead_does_not_begin_anew(daemon: Daemon, guard: Guard) -> None:
    daemon.write_jcard("")
    path = daemon.drop_ins / "fleet" / "x.toml"
    write_drop_in(path, STUBBORN)
    look_until(guard, lambda: not path.exists())
    daemon.start()
    assert daemon.agents() == {}


def test_agentd_ends_what_it_can_end_itself(daemon: Daemon, guard: Guard) -> None:
    daemon.write_jcard("")
    path = daemon.drop_ins / "fleet" / "x.toml"
    write_drop_in(path, STUBBORN.replace('"1s"', '"1h"'))
    daemon.start()
    pid = daemon.wait_state("x", "running")["pid"]
    held = hold({}, {"x": Leased(time.time() - 7200, 3600.0, 0.1)}, time.monotonic(), time.time())
    path.unlink()
    guard._held = held
    look_until(guard, lambda: not guard._held)
    # It left it to agentd, which has listed it until it had ended.
    assert daemon.agents() == {}
    assert not runs(daemon, pid)
