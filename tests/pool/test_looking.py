"""What is true of a worker, by what is known of it at one moment."""

from __future__ import annotations

from agentd.api.client.socket import JsonObject
from agentd.model.pool import WorkerEvent
from agentd.pool.looking import Look, first
from agentd.pool.statuses import Status

STATUS = Status({"name": "w", "state": "running", "activity": "idle"})


def look(*ended: str, last: str) -> Look:
    """Look at a worker whose last turn has this id; the ends of some turns are kept, from number 1 on."""
    events: list[JsonObject] = [
        {"seq": number, "kind": "turn_ended", "data": {"turn": turn, "outcome": "completed"}}
        for number, turn in enumerate(ended, 1)
    ]
    turn: JsonObject = {"id": last, "outcome": "completed", "text": "done"}
    return Look(STATUS, {"turn": None, "waiting": 0, "last": turn}, events)


def test_the_end_of_a_turn_has_the_number_of_its_own_event() -> None:
    found = first([look("t1", "t2", last="t2")], [WorkerEvent.COMPLETED], None)
    assert found is not None
    assert found[2] == 2


def test_the_end_of_a_turn_that_is_not_kept_yet_has_none_and_not_that_of_another() -> None:
    found = first([look("t1", last="t2")], [WorkerEvent.COMPLETED], 1)
    assert found is not None
    assert found[2] is None
