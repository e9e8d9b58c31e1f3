"""Agents are started by the clock: ``schedule``, ``catch_up`` and ``overlap``."""

from __future__ import annotations

import json
import os
import signal
from calendar import isleap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import pytest

from tests.cli.support import Client
from tests.daemon.support import declare, start
from tests.daemon.test_events import events
from tests.support.agents import jcard
from tests.support.daemon import Daemon

SECONDLY = "* * * * * *"
NEVER = "0 0 29 2 *"
_NOW = datetime.now(UTC)
LEAP = next(
    year for year in range(_NOW.year, _NOW.year + 9) if isleap(year) and datetime(year, 2, 28, 23, tzinfo=UTC) > _NOW
)
ZONE = {"time_zone": "Europe/Berlin"}


def runs(name: str, command: list[str], schedule: str = SECONDLY, **fields: object) -> dict[str, object]:
    return {"name": name, "command": command, "schedule": schedule, "grace_period": "1s", **fields}


def told(daemon: Daemon, kind: str, name: str) -> list[Mapping[str, object]]:
    return [each for each in events(daemon) if each["kind"] == kind and each["agent"] == name]


def test_it_is_started_at_its_times_and_waits_between_them(daemon: Daemon) -> None:
    start(daemon, runs("tick", ["true"]), runs("leap", ["true"], NEVER, **ZONE))
    daemon.wait_for(lambda: len(told(daemon, "schedule_due", "tick")) >= 3, what="it is due three times")
    daemon.wait_for(lambda: len(told(daemon, "completed", "tick")) >= 2, what="two runs have ended")
    data = cast("Mapping[str, object]", told(daemon, "schedule_due", "tick")[-1]["data"])
    assert data["schedule"] == SECONDLY
    assert 0 <= cast("float", data["late_seconds"]) <= 60
    leap = daemon.wait_state("leap", "queued")
    assert leap["queued"] is not None
    assert leap["queued"]["place"] is None
    assert leap["queued"]["reason"] == f"its schedule starts it next at {LEAP}-02-29 00:00 CET (Europe/Berlin)"
    assert leap["next_start_at"] == f"{LEAP}-02-28T23:00:00Z"
    client = Client(daemon.folder, daemon.places)
    waits = f"(waits: queued: its schedule starts it next at {LEAP}-02-29 00:00 CET (Europe/Berlin))"
    assert f"+\tstart\tleap\tdeclared and not launched yet {waits}" in client("plan").out
    assert f"{LEAP}-02-29 00:00 CET" in client("status").out


@pytest.mark.thorough
def test_what_is_declared_later_waits_at_once(daemon: Daemon) -> None:
    # Before the next resync.
    daemon.write_jcard(jcard())
    daemon.start("--interval=10m")
    daemon.write_drop_in("a.toml", jcard(runs("leap", ["true"], NEVER)))
    daemon.wait_state("leap", "queued")
    # An edit of its launch and a start by hand: the one waits, the other does not.
    daemon.write_drop_in("a.toml", jcard(runs("leap", ["false"], NEVER)))
    client = Client(daemon.folder, daemon.places)
    assert client("restart", "leap").status == 0
    assert daemon.wait_state("leap", "failed")["exit_code"] == 1
    assert told(daemon, "schedule_due", "leap") == []
    assert f">\tstart\tleap\tat {LEAP}-02-2" in client("plan").out


def test_a_start_that_is_due_while_it_runs_is_skipped_waits_or_ends_the_run(daemon: Daemon) -> None:
    long = ["sleep", "600"]
    start(daemon, *(runs(how, long, overlap=how) for how in ("skip", "queue", "stop")))
    daemon.wait_for(lambda: len(told(daemon, "schedule_skipped", "skip")) >= 2, what="two are skipped")
    (first, *_) = told(daemon, "schedule_skipped", "skip")
    assert str(first["reason"]).startswith("the run before is not over: it is ")
    daemon.wait_for(lambda: len(told(daemon, "started", "stop")) >= 2, what="the second run has begun")
    assert len(told(daemon, "started", "skip")) == 1
    assert len(told(daemon, "started", "queue")) == 1
    assert told(daemon, "schedule_skipped", "queue") == []
    agent = daemon.agents()["queue"]
    assert agent["pid"] is not None
    os.kill(agent["pid"], signal.SIGTERM)
    daemon.wait_for(lambda: len(told(daemon, "started", "queue")) == 2, what="the one that waited is made")


@pytest.mark.thorough
def test_a_run_survives_agentd_and_is_not_made_again(daemon: Daemon) -> None:
    start(daemon, runs("a", ["sleep", "600"]))
    pid = daemon.wait_state("a", "running")["pid"]
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: len(told(daemon, "schedule_skipped", "a")) >= 1, what="the next one is due")
    assert daemon.agents()["a"]["pid"] == pid
    # Without its schedule it goes on.
    declare(daemon, {"name": "a", "command": ["sleep", "600"]})
    daemon.wait_for(lambda: daemon.agents()["a"]["next_start_at"] is None, what="it has none")
    assert daemon.agents()["a"]["pid"] == pid


@pytest.mark.thorough
def test_what_was_missed_is_caught_up_if_it_is_not_too_late(daemon: Daemon) -> None:
    yearly = "0 0 1 1 *"
    agents = [runs(name, ["true"], yearly, catch_up=late, **ZONE) for name, late in (("late", "9000h"), ("off", "1m"))]
    start(daemon, *agents)
    for name in ("late", "off"):
        daemon.wait_state(name, "queued")
    daemon.stop()
    file = daemon.state / "schedules.json"
    kept = json.loads(file.read_text())
    assert kept["v"] == 1
    assert kept["agents"].keys() == {"late", "off"}
    for each in kept["agents"].values():
        each["since"] = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC).timestamp() - 40 * 86400
    kept["agents"]["gone"] = kept["agents"]["off"]
    file.write_text(json.dumps(kept))
    daemon.start()
    daemon.wait_state("late", "exited")
    # What the status shows at once is written a moment later.
    daemon.wait_for(lambda: len(told(daemon, "completed", "late")) == 1, what="all is told")
    assert len(told(daemon, "schedule_due", "late")) == 1
    (missed,) = told(daemon, "schedule_missed", "off")
    assert str(missed["reason"]).endswith("late, and catch_up is 1m")
    daemon.wait_state("off", "queued")
    daemon.wait_for(
        lambda: json.loads(file.read_text())["agents"].keys() == {"late", "off"}, what="what is gone is forgotten"
    )
