"""Requests that are repeated under one key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.gateway.conftest import ALICE, BOB
from tests.support.daemon import Answer
from tests.support.gateway import Gateway


def post(gateway: Gateway, path: str, body: dict[str, object], key: str, token: str = ALICE) -> Answer:
    return gateway.request("POST", path, body, token=token, headers={"Idempotency-Key": key})


def test_twenty_at_once_have_one_effect_and_one_answer(served: Gateway) -> None:
    session = served.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"]
    path = f"/sessions/{session}/messages"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(served, path, {"text": "hello"}, "one"), range(20)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    runs = served.ask("GET", f"/runs?session_id={session}", token=ALICE)["runs"]
    assert len(runs) == 1


def test_a_key_is_of_one_body_one_route_and_one_token(served: Gateway) -> None:
    made = post(served, "/sessions", {"agent": "helper"}, "mine")
    again = post(served, "/api/v1/sessions", {"agent": "helper"}, "mine")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, made.body, "true")
    other = post(served, "/sessions", {"agent": "helper", "title": "T"}, "mine")
    error: Any = other.json()
    assert (other.status, error["error"]["code"]) == (422, "idempotency_key_reused")
    session = made.json()["session"]["id"]  # type: ignore[index]
    assert post(served, f"/sessions/{session}/messages", {"text": "x"}, "mine").status == 201
    assert post(served, "/sessions", {"agent": "helper"}, "mine", BOB).body != made.body


def test_a_key_may_stand_in_the_body_and_what_made_nothing_is_no_answer_to_keep(served: Gateway) -> None:
    session = served.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"]
    path = f"/sessions/{session}/messages"
    body: dict[str, object] = {"text": "hello", "idempotency_key": "in the body"}
    first = served.request("POST", path, body, token=ALICE)
    assert post(served, path, {"text": "hello"}, "in the body").body == first.body
    assert post(served, path, body, "another").status == 422
    assert post(served, path, {"text": " "}, "wrong").status == 422
    assert post(served, path, {"text": "hello"}, "wrong").status == 201
    run = first.json()["run"]["id"]  # type: ignore[index]
    canceled = post(served, f"/runs/{run}/transition", {"to_status": "canceled"}, "t")
    assert (canceled.status, post(served, f"/runs/{run}/transition", {"to_status": "canceled"}, "t").body) == (
        200,
        canceled.body,
    )
    assert post(served, path, {"text": "x"}, "k" * 256).status == 422


def test_keys_are_kept_over_a_restart_and_a_sigkill(served: Gateway) -> None:
    made = post(served, "/sessions", {"agent": "helper"}, "kept")
    served.restart()
    assert post(served, "/sessions", {"agent": "helper"}, "kept").body == made.body
    served.kill()
    served.start()
    replayed = post(served, "/sessions", {"agent": "helper"}, "kept")
    assert (replayed.body, replayed.headers["idempotent-replayed"]) == (made.body, "true")
