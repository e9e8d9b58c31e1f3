from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.fleet.controller import Controller
from agentd.fleet.core import Core
from agentd.fleet.definitions import Definition, JcardError, Wanted, read_wanted
from agentd.fleet.errors import HostTakenError
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord, Ledger, LedgerError, Run
from agentd.fleet.messages import HostReport, Orders, instance_of, new_token
from agentd.fleet.plans import Step, Wish
from agentd.harness.registry import load_harnesses
from agentd.model.placement import OnHostLoss, Place
from agentd.settings.context import load_context

TERMS = LeaseTerms.of(30)
A, B = HostRecord("a", 10), HostRecord("b", 10)


def ignore(before: Book, after: Book) -> None:
    assert before != after


def wanted(*names: str, wait: bool = False) -> Wanted:
    place = Place(on_host_loss=OnHostLoss.WAIT if wait else OnHostLoss.RESCHEDULE)
    definitions = {name: Definition(name, f"text of {name}", f"digest of {name}", not wait, 10.0) for name in names}
    return Wanted(tuple(Wish(name, place) for name in names), definitions)


def said(host: HostRecord, number: int, *agents: str, present: frozenset[str] = frozenset()) -> HostReport:
    return HostReport(host, "token", number, {name: f"digest of {name}" for name in agents}, present, "1.0")


def hear(core: Core, report: HostReport, now: float) -> Orders:
    orders = core.hear(report, now)
    assert orders is not None
    return orders


@pytest.fixture
def core() -> Core:
    """A fleet of one host, which runs x."""
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    hear(core, said(A, 0), 0.0)
    core.apply("", "", wanted("x"), 0.0, 1.0)
    assert hear(core, said(A, 1), 1.0).texts == {"x": "text of x"}
    hear(core, said(A, 2, "x"), 2.0)
    return core


def test_a_host_is_told_what_it_does_not_have_yet(core: Core) -> None:
    orders = hear(core, said(A, 3, "x"), 3.0)
    assert (orders.files, orders.texts, orders.leased) == ({"x": "digest of x"}, {}, frozenset({"x"}))


def test_a_drained_host_is_left_only_once_it_says_that_the_agent_is_gone(core: Core) -> None:
    hear(core, said(B, 0), 3.0)
    core.drain("a", draining=True, now=3.0)
    assert hear(core, said(A, 3, "x"), 3.0).files == {}
    hear(core, said(A, 4, present=frozenset({"x"})), 4.0)
    assert hear(core, said(B, 1), 4.0).files == {}
    hear(core, said(A, 5), 5.0)
    assert hear(core, said(B, 2), 5.0).files == {"x": "digest of x"}


def test_a_drain_and_its_end_say_what_they_change(core: Core) -> None:
    steps = [(each.agent, each.step) for each in core.drain("a", draining=False, now=3.0).assignments]
    assert steps == [("x", Step.STAY)]
    hear(core, said(B, 0), 3.0)
    [move] = core.drain("a", draining=True, now=3.0).assignments
    assert (move.step, move.previous, move.host, move.reason) == (Step.MOVE, "a", "b", "a is drained")


def test_what_a_host_says_late_tells_nothing(core: Core) -> None:
    hear(core, said(B, 0), 3.0)
    core.drain("a", draining=True, now=3.0)
    assert core.hear(said(A, 1), 3.5) is None
    assert core.hear(replace(said(A, 9), token="of a former start"), 3.5) is None
    assert core.book.runs["x"].host == "a"


def test_another_host_of_the_same_name_is_told_nothing_while_the_first_may_run_something() -> None:
    here, there = replace(A, address="10.0.0.1"), replace(A, address="10.0.0.2")
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    hear(core, said(here, 0), 0.0)
    core.apply("", "", wanted("x"), 0.0, 1.0)
    hear(core, said(here, 1), 1.0)
    lost, ended = 1.0 + TERMS.lost_after, TERMS.ended_by(1.0, 10.0)
    for now in (1.0, lost, ended - 0.1):
        with pytest.raises(HostTakenError, match=r"there is a host a already, at 10\.0\.0\.1: give this one another"):
            core.hear(replace(said(there, 0), token="another"), now)
    assert hear(core, replace(said(there, 0), token="another"), ended).files == {"x": "digest of x"}
    with pytest.raises(HostTakenError, match=r"at 10\.0\.0\.2"):
        core.hear(said(here, 2, "x"), ended)


def test_two_hosts_of_one_machine_may_not_have_one_name_either() -> None:
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    one, two = (instance_of("10.0.0.1", Path(f"/home/{name}/jcard.d/fleet")) for name in ("ada", "bob"))
    hear(core, replace(said(A, 0), token=new_token(one)), 0.0)
    with pytest.raises(HostTakenError):
        core.hear(replace(said(A, 0), token=new_token(two)), 1.0)
    # Its own Node is started again, and an older one says nothing of itself.
    hear(core, replace(said(A, 0), token=new_token(one)), 1.0)
    hear(core, said(A, 0), 1.0)


def test_what_may_run_for_ever_keeps_its_hosts_name_until_that_is_forgotten() -> None:
    here, there = replace(A, address="10.0.0.1"), replace(A, address="10.0.0.2")
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    hear(core, said(here, 0), 0.0)
    core.apply("", "", wanted("x", wait=True), 0.0, 1.0)
    hear(core, said(here, 1), 1.0)
    with pytest.raises(HostTakenError, match="agentctl fleet forget a"):
        core.hear(said(there, 0), 1e6)
    core.forget("a", 1e6)
    assert hear(core, said(there, 0), 1e6).files == {"x": "digest of x"}


def test_a_lost_host_that_runs_nothing_gives_its_name_away_and_keeps_it_when_it_is_heard() -> None:
    here, there = replace(A, address="10.0.0.1"), replace(A, address="10.0.0.2")
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    hear(core, said(here, 0), 0.0)
    with pytest.raises(HostTakenError):
        core.hear(said(there, 0), 1.0)
    hear(core, said(there, 0), TERMS.lost_after)


def test_the_controllers_own_host_may_have_another_address(tmp_path: Path) -> None:
    first, then = replace(A, address="127.0.0.1"), replace(A, address="10.0.0.1")
    ledger = Ledger(tmp_path / "fleet.db")
    runs = {"x": Run("x", "a", leased=False, grace=10.0)}
    ledger.write(Book(), Book(hosts={"a": first, "b": replace(B, address="10.0.0.2")}, runs=runs))
    ledger.close()
    controller = Controller(tmp_path / "fleet.db", 30.0, "a", "10.0.0.1")
    controller.check_name(then, "")
    assert [host.address for host in controller.hosts()] == ["10.0.0.1", "10.0.0.2"]
    for other in (first, replace(B, address="10.0.0.3")):
        with pytest.raises(HostTakenError):
            controller.check_name(other, "")


def test_nothing_is_concluded_of_the_first_question_of_a_start(core: Core) -> None:
    core.drain("a", draining=True, now=3.0)
    hear(core, replace(said(A, 0), token="another start"), 3.5)
    assert core.book.runs["x"].host == "a"


def test_a_host_that_is_lost_keeps_its_agents_until_they_have_ended(core: Core) -> None:
    end = TERMS.ended_by(2.0, 10.0)
    for number, now in enumerate(range(3, int(end))):
        assert hear(core, said(B, number), float(now)).files == {}
    assert hear(core, said(B, 1000), end).files == {"x": "digest of x"}
    # What comes back is told to have it no more.
    assert hear(core, said(A, 3, "x"), end + 1).files == {}


def test_an_agent_that_waits_for_its_host_is_launched_nowhere_else(core: Core) -> None:
    core.apply("", "", wanted("x", wait=True), 0.0, 3.0)
    assert hear(core, said(A, 3), 3.0).leased == set()
    # Also if it should not wait any more, but its host cannot be told.
    core.apply("", "", wanted("x"), 0.0, 5.0)
    assert hear(core, said(B, 0), 1e6).files == {}
    assert hear(core, said(B, 1), 2e6).files == {}
    assert core.book.runs["x"] == Run("x", "a", leased=False, grace=10.0, leaving=True, lease=30.0)


def test_a_lost_host_without_agentd_keeps_its_agents_until_somebody_says_that_it_is_no_more(core: Core) -> None:
    hear(core, replace(said(A, 3, "x"), present=None, version=None), 3.0)
    again = Core(core.book, ignore, wanted("x"), TERMS, 100.0)
    assert hear(again, said(B, 0), 1e6).files == {}
    assert not again.ended("a", 1e6)
    with pytest.raises(ValueError, match="b"):
        again.forget("b", 1e6)
    again.forget("a", 1e6)
    assert again.book.hosts.keys() == {"b"}
    assert hear(again, said(B, 1), 1e6).files == {"x": "digest of x"}
    # It was alive after all: it begins anew, and loses what it has.
    assert again.hear(said(A, 4, "x"), 1e6) is None
    assert hear(again, said(A, 0, "x"), 1e6).files == {}


def test_a_lost_host_whose_agentd_came_back_in_time_is_waited_for_no_longer(core: Core) -> None:
    hear(core, replace(said(A, 3, "x"), present=None, version=None), 3.0)
    hear(core, said(A, 4, "x"), 4.0)
    assert hear(core, said(B, 0), TERMS.ended_by(4.0, 10.0)).files == {"x": "digest of x"}


def test_a_controller_that_comes_back_believes_at_once_that_an_agentd_is_dead(core: Core) -> None:
    again = Core(core.book, ignore, wanted("x"), TERMS, 100.0)
    # Asked to begin anew, the host is cut off.
    assert again.hear(replace(said(A, 3, "x"), present=None, version=None), 101.0) is None
    assert hear(again, said(B, 0), 1e6).files == {}
    assert hear(again, said(A, 0, "x"), 1e6).files == {"x": "digest of x"}
    assert hear(again, said(B, 1), 1e6 + TERMS.ended_by(1e6, 10.0)).files == {"x": "digest of x"}


def test_a_host_that_is_forgotten_gives_up_what_waited_for_it(core: Core) -> None:
    core.apply("", "", wanted("x", wait=True), 0.0, 3.0)
    hear(core, said(A, 3), 3.0)
    assert hear(core, said(B, 0), 1e6).files == {}
    core.forget("a", 1e6)
    assert hear(core, said(B, 1), 1e6).files == {"x": "digest of x"}


def test_a_controller_that_comes_back_asks_before_it_places_anything(core: Core) -> None:
    again = Core(core.book, ignore, wanted("x", "y"), TERMS, 100.0)
    assert hear(again, replace(said(B, 0), token="b"), 100.5).files == {}
    assert again.book.runs.keys() == {"x"}
    hear(again, said(A, 0, "x"), 101.0)
    assert again.book.runs.keys() == {"x", "y"}
    assert again.book.runs["x"].host == "a"


def test_a_controller_with_a_shorter_lease_waits_for_the_longer_one(core: Core) -> None:
    short = Core(core.book, ignore, wanted("x"), LeaseTerms.of(1), 100.0)
    end = TERMS.ended_by(100.0, 10.0)
    assert hear(short, said(B, 0), end - 1).files == {}
    assert hear(short, said(B, 1), end + 1).files == {"x": "digest of x"}


def test_what_runs_though_the_ledger_is_a_new_one_stays_where_it_is() -> None:
    core = Core(Book(), ignore, Wanted(), TERMS, 0.0)
    hear(core, said(A, 0, "x"), 0.0)
    core.apply("", "", wanted("x"), 0.0, 1.0)
    assert core.book.runs["x"].host == "a"
    hear(core, said(A, 1, "x"), 1.0)
    assert core.book.runs["x"].leased


def test_nothing_is_told_that_could_not_be_written_down(core: Core) -> None:
    def refuse(_before: Book, _after: Book) -> None:
        raise LedgerError("the disk is full")

    broken = Core(core.book, ignore, wanted("x"), TERMS, 100.0)
    broken._write = refuse
    with pytest.raises(LedgerError):
        broken.apply("", "", wanted("x", "y"), 0.0, 200.0)
    assert broken.book.runs.keys() == {"x"}


def test_the_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "fleet.db")
    first = ledger.begin()
    second = replace(
        first, revision=1, jcard="text", path="jcard.toml", applied_at=3.5,
        hosts={"a": replace(A, labels=(("zone", "1"),), draining=True, address="10.0.0.1")},
        runs={
            "x": Run("x", "a", leased=True, grace=2.5),
            "y": Run("y", "a", leased=False, grace=1, leaving=True, lease=7.5),
        },
    )  # fmt: skip
    second.hosts["b"] = replace(B, watched=False)
    ledger.write(first, second)
    third = replace(second, runs={"y": Run("y", "b", leased=True, grace=1)})
    ledger.write(second, third)
    with pytest.raises(LedgerError, match="another Controller"):
        Ledger(tmp_path / "fleet.db")
    ledger.close()
    again = Ledger(tmp_path / "fleet.db")
    assert again.begin() == replace(third, epoch=2)
    again.close()


def test_the_ledger_of_a_former_agentd_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    ledger = Ledger(path)
    book = ledger.begin()
    ledger.write(book, replace(book, hosts={"a": A}))
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE hosts DROP COLUMN watched")
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    again = Ledger(path)
    assert again.begin().hosts == {"a": A}
    again.close()


def read(text: str) -> Wanted:
    context = load_context(Path("/etc/fleet.toml"), "root", Path("/root"), load_harnesses().harnesses, Path("/data"))
    return read_wanted(text, "fleet.toml", context, TERMS)


def test_each_replica_is_a_drop_in_of_its_own() -> None:
    found = read(
        """
        [pool]
        [[agents]]
        name = "w"
        session = "s"
        harness = "custom"
        command = ["sleep", "1"]
        replicas = 2
        env = { A = "1" }
        place = { slots = 2 }
        [[agents]]
        name = "kept"
        harness = "custom"
        command = ["sleep", "1"]
        place = { on_host_loss = "wait" }
        """
    )
    assert found.definitions is not None
    assert found.definitions.keys() == {"w-0", "w-1", "kept"}
    assert 'lease = "30s"' in found.definitions["w-1"].text
    assert 'session = "s-1"' in found.definitions["w-1"].text
    assert "place" not in found.definitions["w-1"].text
    assert "replicas" not in found.definitions["w-1"].text
    assert not found.definitions["kept"].leased
    assert "lease" not in found.definitions["kept"].text
    assert any("pool" in warning for warning in found.warnings)
    assert {wish.name: wish.place.slots for wish in found.wishes} == {"w-0": 2, "w-1": 2, "kept": 1}


def test_an_agent_that_something_starts_is_refused() -> None:
    text = '[agent]\nname = "a"\nharness = "codex"\n[[triggers]]\nname = "in"\nagent = "a"\nfile = "/in/*"\n'
    with pytest.raises(JcardError, match="the agent a has triggers, which a fleet does not hand on"):
        read(text)


def test_a_jcard_with_errors_is_refused() -> None:
    with pytest.raises(JcardError, match="harness"):
        read('[agent]\nname = "a"')
