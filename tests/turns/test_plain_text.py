"""What is no text is replaced, and everything else stays as it is."""

from __future__ import annotations

import pytest

from agentd.turns.events import Outcome, PermissionAsked, TextDelta, TurnEvent, Usage
from agentd.turns.plain_text import plain_event, plain_object


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("\ud83d", "\ufffd"),
        ("a\0b", "a\ufffdb"),
        ("caf\u00e9 \ude00!", "caf\u00e9 \ufffd!"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_what_is_no_text_is_replaced_wherever_it_stands(given: str, plain: str) -> None:
    body = {given: [given, {"a": given}], "b": 1, "c": None, "d": Outcome.LOST}
    assert plain_object(body) == {plain: [plain, {"a": plain}], "b": 1, "c": None, "d": Outcome.LOST}
    asked = PermissionAsked(given, "Bash", given, choices=(given, "no"), arguments={"x": [given]})
    assert plain_event(asked) == PermissionAsked(plain, "Bash", plain, choices=(plain, "no"), arguments={"x": [plain]})


@pytest.mark.parametrize("event", [TextDelta("caf\u00e9"), Usage(1, 2), PermissionAsked("r", "n", "t", choices=("a",))])
def test_an_event_of_text_alone_is_the_same(event: TurnEvent) -> None:
    assert plain_event(event) is event
