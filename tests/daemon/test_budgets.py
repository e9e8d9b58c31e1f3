"""Agents held to their budgets, with a real daemon: a stand-in tells of its turns and their cost by AGENTD_HOOK."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.daemon.test_turns import kinds
from tests.support.agents import jcard
from tests.support.daemon import BoundJson, BudgetJson, Daemon

AGENT = Path(__file__).parents[1] / "support" / "spending_agent.py"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def declare(daemon: Daemon, budget: object, **fields: object) -> None:
    daemon.write_jcard(jcard(agent(daemon, "a", budget, **fields)))


def agent(daemon: Daemon, name: str, budget: object, **fields: object) -> dict[str, object]:
    command = [sys.executable, "-I", "-S", str(AGENT), str(daemon.folder / f"taken-{name}")]
    own = {} if budget is None else {"budget": budget}
    return {"name": name, "command": command, "workdir": str(daemon.workdir), **own, **fields}


def start(daemon: Daemon) -> None:
    daemon.start()
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")


def taken(daemon: Daemon, name: str = "a") -> list[str]:
    path = daemon.folder / f"taken-{name}"
    return path.read_text().splitlines() if path.exists() else []


def say(client: Client, text: str, name: str = "a") -> None:
    assert client("send", name, text).status == 0


def budget(daemon: Daemon, name: str = "a") -> BudgetJson:
    found = daemon.agents()[name]["budget"]
    assert found is not None
    return found


def bound(daemon: Daemon, name: str, of: str = "a") -> BoundJson:
    return next(each for each in budget(daemon, of)["bounds"] if each["name"] == name)


def outcomes(daemon: Daemon) -> list[str]:
    """How its turns have ended."""
    events = daemon.get("/v1/events?kind=turn_ended")
    assert isinstance(events, list)
    return [each["data"]["outcome"] for each in events]


def breach(daemon: Daemon, kind: str = "budget_breached") -> tuple[object, Mapping[str, object]]:
    """The reason and the data of the one event that tells of a budget, or of this kind."""
    daemon.wait_for(lambda: kind in kinds(daemon), what=f"the event {kind}")
    events = daemon.get(f"/v1/events?kind={kind}")
    assert isinstance(events, list)
    (found,) = events
    assert isinstance(found, dict)
    data = found["data"]
    assert isinstance(data, dict)
    return found["reason"], data


@pytest.mark.thorough
def test_no_turn_begins_beyond_a_number_of_turns_until_the_number_is_raised(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"turns": 2})
    start(daemon)
    say(client, "one")
    daemon.wait_for(lambda: bound(daemon, "turns")["used"] == 1, what="it counts")
    assert not budget(daemon)["breached"]
    say(client, "two")
    reason, data = breach(daemon)
    assert reason == "2 of 2 turns in this run are used"
    expected = {"budget": "turns", "used": "2", "limit": "2", "budget_action": "pause", "budget_source": "agentd"}
    assert {name: data[name] for name in expected} == expected
    assert budget(daemon)["reason"] == "2 of 2 turns in this run are used: no turn begins until there is budget again"
    assert "over budget: 2 of 2 turns in this run are used" in client("status").out

    assert client("send", "a", "three", "--expires", "10m").status == 0
    waits = "its budget is used up: 2 of 2 turns in this run are used"
    daemon.wait_for(lambda: waits in client("mailbox", "a", "--json").out, what="the message waits, and says why")
    assert taken(daemon) == ["one", "two"]
    declare(daemon, {"turns": 3})
    daemon.wait_for(lambda: taken(daemon) == ["one", "two", "three"], what="the message that waited was handed over")
    assert daemon.agents()["a"]["state"] == "running"


@pytest.mark.thorough
def test_stop_stops_it_and_its_restart_policy_does_not_answer(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"turns": 1, "on_breach": "stop"}, restart="always")
    start(daemon)
    say(client, "one")
    found = daemon.wait_state("a", "failed")
    assert found["error"] == "stopped at its budget: 1 of 1 turns in this run are used"
    assert breach(daemon, "stopped")[1]["cause"] == "budget"
    assert kinds(daemon).count("launched") == 1
    # A run that somebody starts has a budget of its own.
    assert client("restart", "a").status == 0
    daemon.wait_state("a", "running")
    daemon.wait_for(lambda: bound(daemon, "turns")["used"] == 0, what="the new run has used nothing")


@pytest.mark.thorough
def test_notify_tells_once_and_does_nothing(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"turns": 1, "on_breach": "notify"})
    start(daemon)
    say(client, "one")
    say(client, "two")
    assert breach(daemon)[1]["budget_action"] == "notify"
    assert taken(daemon) == ["one", "two"]
    assert (
        budget(daemon)["reason"] == "2 of 1 turns in this run are used: nothing is done about it, on_breach is notify"
    )


def test_a_turn_that_costs_too_much_is_interrupted(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"usd": "2.50/run", "day": "40"})
    start(daemon)
    say(client, "cost 1.25")
    # The turn has begun, and what it costs is told next.
    daemon.wait_for(lambda: bound(daemon, "usd")["used"] == 1.25, what="it counts")
    usd = bound(daemon, "usd")
    assert (usd["limit"], usd["source"]) == (2.5, "custom's own record")
    assert usd["told_at"] is not None
    assert bound(daemon, "day")["resets_at"] is not None
    client("send", "a", "work 1.3")
    assert breach(daemon)[0] == "2.55 of 2.5 US dollars in this run are used"
    daemon.wait_for(lambda: daemon.agents()["a"]["activity"] == "idle", what="the turn was interrupted")
    # What a person types begins a turn all the same: it is interrupted, too.
    daemon.tmux("send-keys", "-t", "a", "work 0", "Enter")
    daemon.wait_for(lambda: taken(daemon)[-1] == "work 0", what="it has begun")
    daemon.wait_for(
        lambda: outcomes(daemon) == ["completed", "interrupted", "interrupted"], what="it was interrupted, too"
    )
    assert "2.55 of 2.5 US dollars in this run (custom's own record, " in client("status", "a").out


@pytest.mark.thorough
def test_what_was_used_is_kept_over_a_kill_of_agentd(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"usd": "5", "turns": 9})
    start(daemon)
    say(client, "cost 1.5")
    ledger = Path(daemon.places["AGENTD_STATE_DIR"]) / "budgets.json"
    daemon.wait_for(lambda: ledger.exists() and '"1.5' in ledger.read_text(), what="it is written down")
    assert json.loads(ledger.read_text())["version"] == 1
    daemon.kill()
    daemon.start()
    daemon.wait_state("a", "running")
    daemon.wait_for(lambda: bound(daemon, "usd")["used"] == 1.5, what="it is known again")
    assert bound(daemon, "turns")["used"] == 1
    say(client, "cost 3.5")
    assert breach(daemon)[0] == "5 of 5 US dollars in this run are used"


@pytest.mark.thorough
def test_the_next_message_waits_for_what_the_turn_before_cost(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"usd": "1"})
    start(daemon)
    assert client("send", "a", "late 1", "--expires", "10m").status == 0
    assert client("send", "a", "next", "--expires", "10m").status == 0
    breach(daemon)
    daemon.wait_for(lambda: "its budget is used up" in client("mailbox", "a", "--json").out, what="it waits")
    assert taken(daemon) == ["late 1"]


WORKER = """[worker]
provider = "custom"
spawned_by = "a"
"""


@pytest.mark.thorough
def test_what_a_worker_costs_counts_to_whoever_spawned_it_and_holds_up_both(daemon: Daemon, client: Client) -> None:
    daemon.write_jcard("[budget]\nturns = 9\n" + jcard(agent(daemon, "a", {"day": "5"})))
    worker = daemon.folder / "jcard.d" / "workers" / "w.toml"
    worker.parent.mkdir(parents=True)
    worker.write_text(WORKER + jcard(agent(daemon, "w", {"on_breach": "notify"})))
    start(daemon)
    daemon.wait_for(lambda: ">" in daemon.screen("w"), what="the worker takes a line")
    say(client, "cost 1.5")
    say(client, "cost 3", "w")
    daemon.wait_for(lambda: bound(daemon, "day")["used"] == 4.5, what="both count")
    # It inherits the number, and has an account of its own.
    assert [(each["name"], each["limit"], each["used"]) for each in budget(daemon, "w")["bounds"]] == [
        ("day", 5, 3),
        ("turns", 9, 1),
    ]
    say(client, "cost 0.5", "w")
    assert breach(daemon)[0] == "5 of 5 US dollars today are used"
    daemon.wait_for(lambda: budget(daemon, "w")["breached"], what="the worker is held up, too")
    reason = budget(daemon, "w")["reason"]
    assert reason is not None
    assert reason.startswith("5 of 5 US dollars today are used by a, which spawned it: no turn begins")
    assert client("send", "w", "more", "--expires", "10m").status == 0
    daemon.wait_for(lambda: "its budget is used up" in client("mailbox", "w", "--json").out, what="its message waits")
    assert taken(daemon, "w") == ["cost 3", "cost 0.5"]


@pytest.mark.thorough
def test_nobody_is_launched_whose_day_is_used_up_until_there_is_budget(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"day": "1"}, restart="always")
    start(daemon)
    say(client, "cost 2")
    breach(daemon)
    pid = daemon.agents()["a"]["pid"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    waits = "its budget is used up: 2 of 1 US dollars today are used"
    queued = daemon.wait_state("a", "queued")["queued"]
    assert queued is not None
    assert queued["reason"] == waits
    assert f"(waits: queued: {waits})" in client("plan").out
    assert waits in client("status").out
    # By hand too, and by another agentd.
    assert client("restart", "a").status == 0
    ledger = daemon.state / "budgets.json"
    daemon.wait_for(lambda: ledger.exists() and '"day_usd": "2' in ledger.read_text(), what="it is written down")
    daemon.stop()
    daemon.start()
    assert daemon.wait_state("a", "queued")["pid"] is None
    assert kinds(daemon).count("launched") == 1
    declare(daemon, {"day": "3"}, restart="always")
    daemon.wait_state("a", "running")


def answered(daemon: Daemon, turns: int) -> bool:
    """Whether it waits for a line again, after so many turns."""
    return daemon.screen("a").count(">") == turns + 1


@pytest.mark.thorough
def test_what_a_program_told_and_has_an_answer_to_counts_after_a_kill(daemon: Daemon, client: Client) -> None:
    declare(daemon, {"usd": "5"})
    start(daemon)
    for number in range(1, 4):
        say(client, f"cost {number / 8}")
        daemon.wait_for(partial(answered, daemon, number), what="it was answered")
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: bound(daemon, "usd")["used"] == 0.75, what="all of it counts")
