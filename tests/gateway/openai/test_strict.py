from __future__ import annotations

import pytest
from openai.types.responses import Response
from pydantic import ValidationError

from agentd.gateway.openai.objects import Facts, JsonObject, State, message, response
from tests.gateway.openai.strict import check


def shown() -> JsonObject:
    facts = Facts("resp_1", 1, "a", "custom", background=False, asked={})
    return response(facts, State("completed", [message("msg_1", "assistant", "hello")]))


def test_the_clients_models_take_what_is_right() -> None:
    check(Response, shown())


@pytest.mark.parametrize(
    "wrong",
    [
        {"made_up": 1},
        {"created_at": "1"},
        {"status": "canceled"},
        {"output": [{**message("msg_1", "assistant", "hello"), "made_up": 1}]},
        {"text": {"format": {"type": "text", "made_up": 1}}},
    ],
)
def test_they_refuse_what_is_not_theirs_at_every_depth(wrong: JsonObject) -> None:
    with pytest.raises(ValidationError):
        check(Response, {**shown(), **wrong})
