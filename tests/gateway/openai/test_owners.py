"""What is another user's does not exist, over every route of OpenAI's interface."""

from __future__ import annotations

import re

import openai
import pytest

from agentd.gateway.http.route import Route
from agentd.gateway.openai.routes import ROUTES
from tests.gateway.conftest import ALICE, BOB, ROOT
from tests.gateway.openai.official import Traffic, official
from tests.support.gateway import Gateway

BODIES: dict[str, dict[str, object]] = {"/items": {"items": [{"role": "user", "content": "x"}]}, "}": {"metadata": {}}}
"""By the end of a route's path, a body that is good but for whose the object is."""

OWNED = [route for route in ROUTES if re.search(r"\{(response|conversation)\}", route.path)]


@pytest.fixture(scope="module")
def alices(served: Gateway) -> dict[str, str]:
    """A response and a conversation of Alice's, and an item of it."""
    conversation = served.ask("POST", "/v1/conversations", {}, token=ALICE)["id"]
    body = {"model": "helper", "input": "hello", "conversation": conversation}
    response = served.ask("POST", "/v1/responses", body, token=ALICE)["id"]
    item = served.ask("GET", f"/v1/conversations/{conversation}/items", token=ALICE)["first_id"]
    return {"response": response, "conversation": conversation, "item": item}


@pytest.mark.parametrize("route", OWNED, ids=lambda route: f"{route.method} {route.path}")
def test_another_users_object_is_not_there(served: Gateway, alices: dict[str, str], route: Route) -> None:
    path = route.path.format(**alices)
    body = None
    if route.method == "POST":
        body = next((body for end, body in BODIES.items() if route.path.endswith(end)), {})
    assert served.request(route.method, path, body, token=BOB).status == 404
    if route.method == "GET":
        assert served.request(route.method, path, token=ALICE).status == 200
        assert served.request(route.method, path, token=ROOT).status == 200


def test_nobody_goes_on_with_what_is_anothers(served: Gateway, alices: dict[str, str], traffic: Traffic) -> None:
    with official(served.url, traffic, token=BOB) as bob:
        with pytest.raises(openai.BadRequestError) as refused:
            bob.responses.create(model="helper", input="x", previous_response_id=alices["response"])
        assert refused.value.code == "previous_response_not_found"
        with pytest.raises(openai.NotFoundError):
            bob.responses.create(model="helper", input="x", conversation=alices["conversation"])
    with official(served.url, traffic, token="wrong") as nobody, pytest.raises(openai.AuthenticationError):
        nobody.models.list()
