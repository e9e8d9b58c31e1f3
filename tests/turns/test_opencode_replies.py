"""What is posted to OpenCode's server for each answer to what it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.conversation import Request
from agentd.turns.events import Decision
from agentd.turns.opencode.replies import reply
from agentd.turns.opencode.server import Server

QUESTION, PERMISSION = Request("q1", "Which colour?", True, 1.0), Request("p1", "ls", False, 1.0)


@dataclass
class Door:
    """Takes everything."""

    witness: str = "server"
    posted: list[tuple[str, Mapping[str, object] | None]] = field(default_factory=list)

    async def ready(self) -> None:
        """It is."""

    async def ask(
        self, method: str, path: str, document: Mapping[str, object] | None, limit: float, longest: int
    ) -> tuple[int, bytes]:
        assert (method, limit > 0, longest > 0) == ("POST", True, True)
        self.posted.append((path, document))
        return 200, b"true"

    async def events(self) -> AsyncIterator[Mapping[str, object]]:
        yield {}

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("request_", "answer", "posted"),
    [
        (QUESTION, Answer(Decision.ANSWER, "blue"), ("/question/q1/reply", {"answers": [["blue"]]})),
        (QUESTION, Answer(Decision.DENY), ("/question/q1/reject", {})),
        (PERMISSION, Answer(Decision.ALLOW), ("/permission/p1/reply", {"reply": "once"})),
        (PERMISSION, Answer(Decision.ALLOW, "why"), ("/permission/p1/reply", {"reply": "once"})),
        (PERMISSION, Answer(Decision.DENY), ("/permission/p1/reply", {"reply": "reject"})),
        (PERMISSION, Answer(Decision.DENY, "why"), ("/permission/p1/reply", {"reply": "reject", "message": "why"})),
    ],
)
async def test_an_answer_is_posted_as_opencode_takes_it(
    request_: Request, answer: Answer, posted: tuple[str, Mapping[str, object]]
) -> None:
    door = Door()
    await reply(Server(door), request_, answer)
    assert door.posted == [posted]


@pytest.mark.parametrize(
    ("request_", "answer", "told"),
    [
        (QUESTION, Answer(Decision.ALLOW), "expected an answer in words, or deny"),
        (PERMISSION, Answer(Decision.ANSWER, "blue"), "expected allow or deny"),
    ],
)
async def test_one_that_does_not_fit_is_refused(request_: Request, answer: Answer, told: str) -> None:
    door = Door()
    with pytest.raises(TurnsError, match=told):
        await reply(Server(door), request_, answer)
    assert not door.posted
