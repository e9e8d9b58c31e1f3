"""Over every route: nobody gets in without a token, and what is another's is not there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentd.gateway.http.route import API_PREFIX, Route
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.model.gateway import Scope
from tests.gateway.conftest import ALICE, BOB, GUEST, ROOT
from tests.support.gateway import Gateway

ALL = [(prefix + route.path, route) for route in TWICE for prefix in ("", API_PREFIX)]
ALL += [(route.path, route) for route in AT_THE_ROOT]

MESSAGE = {"type": "message", "role": "user", "content": "hello"}

BODIES: dict[str, dict[str, object]] = {
    "/messages": {"text": "x"},
    "/send": {"text": "x"},
    "/spawn": {"task": "x", "agent": "helper"},
    "/transition": {"to_status": "canceled"},
    "/reply-parent": {"text": "x", "request_kind": "info"},
    "/answer": {"request_id": "x", "decision": "allow"},
    "/items": {"items": [MESSAGE]},
    "{conversation}": {"metadata": {}},
}
"""By the end of a route's path, a body that is good but for whose the object is."""


def name(value: object) -> str:
    return value.method if isinstance(value, Route) else str(value)


OBJECTS = [
    (path, route) for path, route in ALL if re.search(r"/(sessions|runs)/\{id\}|\{(response|conversation)\}", path)
]
"""Routes of objects that have an owner."""


@pytest.fixture(scope="module")
def alices(served: Gateway) -> dict[str, str]:
    """Objects of Alice's, by the part of a path that names them."""
    session = served.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"]
    run = served.ask("POST", "/runs", {"session_id": session, "prompt": "hello"}, token=ALICE)["run"]["id"]
    conversation = served.ask("POST", "/v1/conversations", {"items": [MESSAGE]}, token=ALICE)["id"]
    asked = {"model": "helper", "input": "hello", "conversation": conversation}
    response = served.ask("POST", "/v1/responses", asked, token=ALICE)["id"]
    items = served.ask("GET", f"/v1/conversations/{conversation}/items", token=ALICE)["data"]
    return {
        "sessions/{id}": session,
        "runs/{id}": run,
        "{conversation}": conversation,
        "{response}": response,
        "{item}": items[0]["id"],
    }


@pytest.mark.parametrize(("path", "route"), [(p, r) for p, r in ALL if r.scope is not None], ids=name)
def test_without_a_token_nothing_is_answered(served: Gateway, path: str, route: Route) -> None:
    asked = re.sub(r"\{\w+\}", "x", path)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {ROOT}"}):
        answer = served.request(route.method, asked, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(("path", "route"), [(p, r) for p, r in ALL if r.scope not in (None, Scope.READ)], ids=name)
def test_who_may_only_look_changes_nothing(served: Gateway, path: str, route: Route) -> None:
    answer = served.request(route.method, re.sub(r"\{\w+\}", "x", path), {}, token=GUEST)
    assert answer.status == 403


@pytest.mark.parametrize(("path", "route"), OBJECTS, ids=name)
def test_an_object_of_anothers_is_not_there(served: Gateway, alices: dict[str, str], path: str, route: Route) -> None:
    body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
    theirs, nobodys = path, path
    for part, found in alices.items():
        theirs = theirs.replace(part, part.partition("{")[0] + found)
        nobodys = nobodys.replace(part, part.partition("{")[0] + found[:-4] + "0000")
    answers = [served.request(route.method, asked, body, token=BOB) for asked in (theirs, nobodys)]
    assert [answer.status for answer in answers] == [404, 404]
    hidden = [re.sub(rb"[0-9A-Za-z]{4}\b", b"", answer.body) for answer in answers]
    assert hidden[0] == hidden[1], "not even that it exists is told"


def test_neither_lists_nor_streams_nor_other_objects_lead_there(served: Gateway, alices: dict[str, str]) -> None:
    session, run = alices["sessions/{id}"], alices["runs/{id}"]
    assert served.ask("GET", "/sessions", token=BOB)["sessions"] == []
    assert served.ask("GET", "/runs", token=BOB)["runs"] == []
    assert served.request("GET", f"/stream?sessionId={session}", token=BOB).status == 404
    assert served.request("GET", f"/runs?session_id={session}", token=BOB).status in (200, 404)
    assert served.request("POST", "/runs", {"session_id": session, "prompt": "x"}, token=BOB).status == 404
    own = served.ask("POST", "/sessions", {"agent": "helper"}, token=BOB)["session"]["id"]
    body = {"text": "x", "from_run_id": run}
    assert served.request("POST", f"/sessions/{own}/send", body, token=BOB).status == 404
    for more in ({"previous_response_id": alices["{response}"]}, {"conversation": alices["{conversation}"]}):
        asked = {"model": "helper", "input": "hello", **more}
        assert served.request("POST", "/v1/responses", asked, token=BOB).status in (400, 404)
    seen: Any = served.ask("GET", "/sessions?limit=1000", token=ROOT)
    assert {session, own} <= {each["id"] for each in seen["sessions"]}
