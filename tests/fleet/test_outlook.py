from __future__ import annotations

from pathlib import Path

import pytest

from agentd.fleet.controller import Controller
from agentd.fleet.ledger import HostRecord, Run
from agentd.fleet.messages import HostReport
from agentd.fleet.outlook import outlook
from agentd.fleet.plans import Host, Wish
from agentd.fleet.protocol import PlacedView, Placement
from agentd.model.placement import Place

TWO_SLOTS = Place(slots=2)


def leaving(agent: str, host: str) -> Run:
    return Run(agent, host, leased=True, grace=1.0, leaving=True)


def why(*hosts: Host, wished: bool = True, others: dict[str, Run] | None = None) -> str:
    """Say of x, which is being stopped on a, why."""
    wishes = [Wish(name, TWO_SLOTS) for name in ("x", *(others or ())) if wished or name != "x"]
    return outlook(wishes, hosts, {"x": leaving("x", "a"), **(others or {})})["x"]


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ((Host("a", 2, draining=True), Host("b", 2)), "a is drained"),
        ((Host("a", 2, draining=True), Host("b", 1)), "a: drained; b: no room (slots)"),
        ((Host("a", 2, draining=True),), "a: drained"),
        ((Host("a", 1), Host("b", 1)), "a, b: no room (slots)"),
        ((Host("a", 2), Host("b", 2)), "it is stopped, and placed anew after that"),
        (
            (Host("a", 2, alive=False, fenced=False), Host("b", 2)),
            "a is lost, and the agent may still run there",
        ),
        # It has no lease, so it is waited for.
        ((Host("a", 2, alive=False), Host("b", 2)), "a is lost, and the agent may still run there"),
    ],
)
def test_an_agent_that_is_being_stopped_says_why(hosts: tuple[Host, ...], reason: str) -> None:
    assert why(*hosts) == reason


def test_room_that_others_have_or_still_take_is_no_room() -> None:
    hosts = (Host("a", 2, draining=True), Host("b", 2))
    assert why(*hosts, others={"y": Run("y", "b", leased=True, grace=1.0)}) == "a: drained; b: no room (slots)"
    still = {"x": leaving("x", "a"), "y": leaving("y", "b")}
    assert outlook([Wish("x", TWO_SLOTS)], hosts, still) == {"x": "a: drained; b: no room (slots)", "y": ""}


def test_an_agent_that_is_wished_for_no_more_says_only_why_it_is_still_there() -> None:
    assert why(Host("a", 2), wished=False) == ""
    lost = Host("a", 2, alive=False, fenced=False)
    assert why(lost, wished=False) == "a is lost, and the agent may still run there"


def test_an_agent_that_is_drained_and_has_nowhere_to_go_says_so_all_along(tmp_path: Path) -> None:
    controller = Controller(tmp_path / "fleet.db", 30.0)

    def said(host: str, number: int, files: dict[str, str], *present: str) -> dict[str, str]:
        record = HostRecord(host, 1 if host == "a" else 0)
        orders = controller.hear(HostReport(record, "token", number, files, frozenset(present), "1.0"))
        assert orders is not None
        return dict(orders.files)

    said("a", 0, {})
    controller.apply('[agent]\nname = "x"\nharness = "custom"\ncommand = ["sleep", "9"]\n', "jcard.toml")
    has = said("a", 1, {})
    said("a", 2, has, "x")
    controller.drain("a", draining=True)
    assert controller.agents() == [PlacedView("x", Placement.MOVING, None, "a", "a: drained")]
    # Something else is decided meanwhile.
    said("b", 0, {})
    moving = [PlacedView("x", Placement.MOVING, None, "a", "a: drained; b: no room (slots)")]
    assert controller.agents() == moving
    assert said("a", 3, has, "x") == {}
    assert controller.agents() == moving
    said("a", 4, {}, "x")
    assert controller.agents() == moving
    said("a", 5, {})
    pending = PlacedView("x", Placement.PENDING, None, None, "a: drained; b: no room (slots)")
    assert controller.agents() == [pending]
