"""Which requests of a run are given up since its agent asks the same by another id."""

from __future__ import annotations

from agentd.gateway.engine.asked_again import former
from agentd.gateway.model.follow import Asked, Resolved
from agentd.gateway.store.requests import Request


def asked(identity: str, text: str = "ls", *, question: bool = False) -> Asked:
    return Asked(identity, question=question, name="Bash", text=text, choices=())


def waiting(identity: str, text: str = "ls", kind: str = "permission") -> Request:
    return Request("run", identity, kind, "Bash", text, 0.0)


def test_what_is_asked_anew_by_another_id_is_looked_at() -> None:
    known = [waiting("r1"), waiting("r2", "pwd"), waiting("r3", kind="question")]
    assert former(known, [asked("r9")]) == known[:1]
    assert former(known, [asked("r9", question=True)]) == known[2:]


def test_what_is_told_again_by_its_id_or_is_decided_now_is_left_alone() -> None:
    assert former([waiting("r1"), waiting("r2")], [asked("r1"), asked("r2")]) == []
    assert former([waiting("r1")], [Resolved("r1", "allow"), asked("r2")]) == []
    assert former([waiting("r1")], [asked("r2", "pwd")]) == []
