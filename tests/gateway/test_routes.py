"""The routes of sessions, runs and events, by real processes; every answer is what the document says."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from agentd.gateway.http.openapi import describe
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.text.messages import LARGEST
from tests.gateway.conftest import ALICE, GUEST, ROOT
from tests.support.gateway import Gateway

DOCUMENT: Any = describe([*TWICE, *AT_THE_ROOT])


def answers_as(gateway: Gateway, method: str, route: str, status: int, body: object = None, **ids: str) -> Any:  # noqa: ANN401
    """Ask as Alice, and hold the answer against the document."""
    path = route.format(**ids)
    answer = gateway.request(method, path, body, token=ALICE)
    assert answer.status == status, f"{method} {path}: {answer.status} {answer.body!r}"
    documented = re.sub(r"\{\w+\}", "{id}", route.partition("?")[0])
    responses = DOCUMENT["paths"][documented][method.lower()]["responses"]
    schema = responses.get(str(status), responses["default"])["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer.json())
    return answer.json()


def test_a_conversation_from_its_beginning_to_its_end(served: Gateway) -> None:
    body = {"agent": "helper", "title": "T", "metadata": {"any": ["thing", 1]}}
    made = answers_as(served, "POST", "/sessions", 201, body)["session"]
    sid = made["id"]
    assert (made["owner"], made["agent"], made["status"], made["metadata"]) == (
        "alice",
        "helper",
        "open",
        body["metadata"],
    )
    assert made["created_at"].endswith("Z")
    sent = answers_as(served, "POST", "/sessions/{sid}/messages", 201, {"text": "hello"}, sid=sid)
    rid = sent["run"]["id"]
    assert (sent["message"]["role"], sent["message"]["run_id"], sent["run"]["prompt"]) == ("user", rid, "hello")
    waited = answers_as(served, "GET", "/runs/{rid}/wait?timeout_s=30&interval_ms=5", 200, rid=rid)
    assert (waited["timed_out"], waited["run"]["status"]) == (False, "succeeded")
    assert waited["run"]["result_text"] == "You said: hello"
    assert answers_as(served, "GET", "/runs/{rid}", 200, rid=rid)["run"] == waited["run"]
    view = answers_as(served, "GET", "/sessions/{sid}", 200, sid=sid)
    assert (view["active_run"], view["queued_runs"]) == (None, [])
    first = answers_as(served, "GET", "/sessions/{sid}/events?cursor=0&limit=2", 200, sid=sid)
    assert (len(first["events"]), first["has_more"]) == (2, True)
    rest = answers_as(served, "GET", f"/sessions/{{sid}}/events?cursor={first['next_cursor']}&limit=1000", 200, sid=sid)
    cursors = [event["cursor"] for event in (*first["events"], *rest["events"])]
    assert cursors == sorted(set(cursors))
    assert rest["events"][-1]["event_type"] == "run.succeeded"
    listed = answers_as(served, "GET", f"/runs?session_id={sid}&status=succeeded", 200)
    assert [run["id"] for run in listed["runs"]] == [rid]
    system = answers_as(served, "POST", "/sessions/{sid}/messages", 201, {"role": "system", "text": "be kind"}, sid=sid)
    assert system["run"] is None
    assert answers_as(served, "GET", "/runs/{rid}/diagnose", 200, rid=rid)["diagnostics"]["likely_issue"] == "none"
    closed = answers_as(served, "DELETE", "/sessions/{sid}", 200, sid=sid)["session"]
    assert closed["status"] == "closed"
    sessions = answers_as(served, "GET", "/sessions?status=closed&agent=helper&limit=1", 200)["sessions"]
    assert [each["id"] for each in sessions] == [sid]


def test_a_run_is_queued_canceled_and_put_into_other_states(served: Gateway) -> None:
    sid = answers_as(served, "POST", "/sessions", 201, {"agent": "helper"})["session"]["id"]
    run = answers_as(served, "POST", "/runs", 201, {"session_id": sid, "prompt": "STUB-SLEEP:60", "timeout_s": 90})[
        "run"
    ]
    later = answers_as(served, "POST", "/runs", 201, {"session_id": sid, "prompt": "later"})["run"]
    assert (run["status"], run["timeout_s"], later["timeout_s"]) == ("queued", 90, None)
    waited = answers_as(served, "GET", "/runs/{rid}/wait?timeout_s=0.05", 200, rid=later["id"])
    assert (waited["timed_out"], waited["run"]["status"]) == (True, "queued")
    moved = answers_as(served, "POST", "/runs/{rid}/transition", 200, {"to_status": "canceled"}, rid=later["id"])
    assert moved["run"]["status"] == "canceled"
    error = answers_as(served, "POST", "/runs/{rid}/transition", 422, {"to_status": "running"}, rid=later["id"])
    assert error["error"]["code"] == "invalid_transition"
    canceled = answers_as(served, "POST", "/runs/{rid}/cancel", 202, {}, rid=run["id"])
    assert (canceled["run"]["status"], canceled["canceled_children"]) == ("canceled", [])
    assert answers_as(served, "POST", "/runs/{rid}/cancel", 202, None, rid=run["id"])["run"]["status"] == "canceled"


def test_a_child_is_spawned_and_speaks_to_its_parent(served: Gateway) -> None:
    sid = answers_as(served, "POST", "/sessions", 201, {"agent": "helper"})["session"]["id"]
    parent = answers_as(served, "POST", "/runs", 201, {"session_id": sid, "prompt": "STUB-SLEEP:60"})["run"]["id"]
    said = {"text": "done", "request_kind": "info"}
    error = answers_as(served, "POST", "/runs/{rid}/reply-parent", 422, said, rid=parent)
    assert error["error"]["code"] == "no_parent"
    child = answers_as(served, "POST", "/runs/{rid}/spawn", 201, {"task": "STUB-SLEEP:60"}, rid=parent)
    assert (child["session"]["parent_session_id"], child["run"]["parent_run_id"]) == (sid, parent)
    reply = answers_as(served, "POST", "/runs/{rid}/reply-parent", 201, said, rid=child["run"]["id"])
    assert (reply["parent_session_id"], reply["message"]["role"]) == (sid, "child")
    canceled = answers_as(served, "POST", "/runs/{rid}/cancel", 202, {}, rid=parent)
    assert canceled["canceled_children"] == [child["run"]["id"]]
    answers_as(served, "POST", "/sessions/{sid}/spawn", 201, {"task": "x", "agent": "helper"}, sid=sid)
    answers_as(served, "POST", "/sessions/{sid}/send", 201, {"text": "go on"}, sid=child["session"]["id"])


def test_the_gateway_tells_how_it_does(served: Gateway) -> None:
    health: Any = served.request("GET", "/health").json()
    assert {**health, "version": ""} == {"ok": True, "status": "healthy", "version": "", "agentd": "reachable"}
    status = answers_as(served, "GET", "/daemon/status", 200)
    assert (status["daemon_health"], status["max_concurrency"]) == ("ok", 4)
    metrics = served.request("GET", "/metrics", token=GUEST)
    assert b'agentd_gateway_requests_total{method="GET",route="/daemon/status",status="200"}' in metrics.body
    assert b"agentd_gateway_agentd_up 1.0" in metrics.body
    again = served.request("GET", "/api/v1/daemon/status", token=ROOT)
    assert again.status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/sessions", {"agnet": "helper"}, "agnet"),
        ("POST", "/sessions", {"agent": "helper", "title": 1}, "title"),
        ("POST", "/sessions/{sid}/messages", {}, "text"),
        ("POST", "/sessions/{sid}/messages", {"text": "  "}, "text"),
        ("POST", "/sessions/{sid}/messages", {"text": "\x1b \x7f"}, "text"),
        ("POST", "/sessions/{sid}/messages", {"text": "x", "role": "king"}, "role"),
        ("POST", "/sessions/{sid}/messages", {"text": "x", "idempotency_key": "a\n"}, "idempotency_key"),
        ("POST", "/runs", {"session_id": "{sid}", "prompt": "x", "timeout_s": 0}, "timeout_s"),
        ("POST", "/runs/{rid}/transition", {"to_status": "cancelled"}, "to_status"),
        ("GET", "/sessions?limit=0", None, "limit"),
        ("GET", "/sessions?limit=1001", None, "limit"),
        ("GET", "/sessions?status=half", None, "status"),
        ("GET", "/sessions?color=red", None, "color"),
        ("GET", "/sessions?cursor=nonsense", None, "cursor"),
        ("GET", "/sessions/{sid}/events?cursor=-1", None, "cursor"),
        ("GET", "/sessions?limit=1&limit=2", None, "limit"),
        ("GET", "/runs/{rid}/wait?timeout_s=nan", None, "timeout_s"),
        ("GET", "/stream?sessionId={sid}&cursor=x", None, "cursor"),
    ],
)  # fmt: skip
def test_a_wrong_field_or_parameter_is_named(
    served: Gateway, ids: dict[str, str], method: str, path: str, body: object, named: str
) -> None:
    answer = served.request(method, path.format(**ids), body, token=ALICE)
    error: Any = answer.json()
    assert (answer.status, error["error"]["code"]) == (422, "invalid_request")
    assert error["error"]["message"].startswith(f"{named}:")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sessions/{sid}/messages", {"text": "…"}),
        ("/sessions/{sid}/send", {"text": "…"}),
        ("/sessions/{sid}/spawn", {"task": "…"}),
        ("/runs", {"session_id": "{sid}", "prompt": "…"}),
        ("/runs/{rid}/answer", {"request_id": "r", "decision": "allow", "text": "…"}),
        ("/v1/responses", {"model": "helper", "input": "…"}),
        ("/v1/chat/completions", {"model": "helper", "messages": [{"role": "user", "content": "…"}]}),
    ],
)
def test_what_agentd_does_not_take_for_an_agent_is_refused_at_once(
    served: Gateway, ids: dict[str, str], path: str, body: object
) -> None:
    before = served.ask("GET", "/sessions?status=open", token=ALICE), served.ask("GET", "/runs", token=ALICE)
    sent = json.dumps(body).replace("{sid}", ids["sid"]).replace('"\\u2026"', json.dumps("ä" * (LARGEST // 2 + 1)))
    answer = served.request("POST", path.format(**ids), sent.encode(), token=ALICE)
    error: Any = answer.json()
    assert (answer.status, error["error"]["code"]) == (413, "too_large")
    assert f"more than the limit of {LARGEST}" in error["error"]["message"] or path.endswith("answer")
    after = served.ask("GET", "/sessions?status=open", token=ALICE), served.ask("GET", "/runs", token=ALICE)
    assert [*map(_ids, after)] == [*map(_ids, before)]


def _ids(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page.get("sessions", page.get("runs", []))]


@pytest.fixture(scope="module")
def ids(served: Gateway) -> dict[str, str]:
    made = served.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"]
    run = served.ask("POST", f"/sessions/{made}/messages", {"text": "hello"}, token=ALICE)["run"]["id"]
    return {"sid": made, "rid": run}
