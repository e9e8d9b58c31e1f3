"""Responses by the official client, from an agent that runs."""

from __future__ import annotations

import json
import signal

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.gateway.openai.official import Traffic, official
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for


def wait_ended(client: OpenAI, response: Response) -> Response:
    """Wait until a response is over."""

    def ended() -> Response | None:
        found = client.responses.retrieve(response.id)
        return found if found.status not in ("queued", "in_progress") else None

    return wait_for(ended, what=f"{response.id} has ended")


def runs(gateway: Gateway) -> int:
    return len(gateway.ask("GET", "/runs?limit=1000")["runs"])


def wait_free(client: OpenAI, after: str) -> None:
    """Wait until the agent of a response takes the next message."""
    again = client.responses.create(model="alice", input="hello again", previous_response_id=after)
    assert "hello again" in again.output_text


def test_a_conversation(client: OpenAI) -> None:
    assert [(model.id, model.owned_by) for model in client.models.list()] == [("alice", "custom"), ("bob", "custom")]
    assert client.models.retrieve("bob").id == "bob"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")

    first = client.responses.create(
        model="alice",
        input="hello",
        instructions="Be brief.",
        metadata={"a": "b"},
        temperature=1,
    )
    assert (first.status, first.error, first.metadata, first.instructions) == (
        "completed",
        None,
        {"a": "b"},
        "Be brief.",
    )
    assert (first.temperature, first.max_output_tokens) == (1, None)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alice", input="hello", max_output_tokens=90)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "max_output_tokens")
    assert "Be brief.\n\nhello" in first.output_text
    then = client.responses.create(model="alice", input="and you?", previous_response_id=first.id)
    assert (then.previous_response_id, then.status) == (first.id, "completed")
    assert "and you?" in then.output_text
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alice", input="back", previous_response_id=first.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_forkable", "previous_response_id")

    assert client.responses.retrieve(then.id) == then
    [item] = client.responses.input_items.list(then.id)
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "and you?"}]
    client.responses.delete(then.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(then.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alice", input="on", previous_response_id=then.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def newest_session(serving: Gateway) -> str:
    """Name it: what is known of one changes after its turn, too."""
    return str(serving.ask("GET", "/sessions?limit=1")["sessions"][0]["id"])


def test_what_cannot_be_is_refused_as_openai_does(client: OpenAI, serving: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="nobody", input="hello")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alice", input="hello", tools=[{"type": "web_search"}])
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "tools")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alice", input="  ")
    assert refused.value.param == "input"
    newest = newest_session(serving)
    for text, status in (("\x01", 400), ("x" * (2 << 20), 413)):
        with pytest.raises(openai.APIStatusError) as untold:
            client.responses.create(model="alice", input=text)
        assert (untold.value.status_code, untold.value.param) == (status, "input")
    assert newest_session(serving) == newest, "nothing is made for it"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="alice", messages=[{"role": "user", "content": "\x01"}])
    assert refused.value.param == "messages"
    with pytest.raises(openai.InternalServerError) as unsaid:
        client.responses.input_tokens.count(model="alice", input="hello")
    assert unsaid.value.status_code == 501
    for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call("resp_0")


def test_a_stream_comes_as_the_agent_writes_and_is_replayed_the_same(client: OpenAI, traffic: Traffic) -> None:
    with client.responses.create(model="alice", input="STUB-SLEEP:1 hello", stream=True) as stream:
        events = list(stream)
    kinds, last = [event.type.removeprefix("response.") for event in events], events[-1]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert kinds.count("output_text.delta") > 1
    assert last.type == "response.completed"
    identity = last.response.id
    streamed = bytes(traffic.exchanges[-1].body)
    with client.responses.retrieve(identity, stream=True) as replay:
        assert [event.type.removeprefix("response.") for event in replay] == kinds
    assert traffic.exchanges[-1].body == streamed
    with client.responses.retrieve(identity, stream=True, starting_after=3) as rest:
        assert [event.sequence_number for event in rest] == list(range(4, len(kinds)))
    assert client.responses.retrieve(identity) == last.response


def test_the_clients_own_streams(client: OpenAI) -> None:
    with client.responses.stream(model="alice", input="hello") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == "".join(deltas)
    assert final.status == "completed"


def test_tools_are_calls(client: OpenAI) -> None:
    response = client.responses.create(model="alice", input="USE-TOOL")
    [call] = [item for item in response.output if item.type == "mcp_call"]
    assert (call.server_label, call.status) == ("custom", "completed")
    assert json.loads(call.arguments).keys() == {"text"}
    assert response.output[-1].type == "message"


def test_a_response_in_the_background_is_canceled(client: OpenAI) -> None:
    started = client.responses.create(model="alice", input="STUB-SLEEP:60", background=True)
    assert started.status == "queued"
    wait_for(lambda: client.responses.retrieve(started.id).status == "in_progress", what="it is under way")
    canceled = client.responses.cancel(started.id)
    assert (canceled.status, canceled.error) == ("cancelled", None)
    assert client.responses.cancel(started.id) == canceled
    with client.responses.retrieve(started.id, stream=True) as stream:
        kinds = [event.type for event in stream]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.failed"
    wait_free(client, started.id)
    done = client.responses.create(model="alice", input="hello", background=True)
    assert wait_ended(client, done).status == "completed"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.cancel(done.id)
    assert refused.value.code == "response_ended"


def test_a_client_that_closes_its_stream_interrupts_the_turn(client: OpenAI) -> None:
    with client.responses.create(model="alice", input="STUB-SLEEP:60", stream=True) as stream:
        identity = next(event.response.id for event in stream if event.type == "response.in_progress")
    wait_for(lambda: client.responses.retrieve(identity).status == "cancelled", what="it is interrupted")
    wait_free(client, identity)


def test_a_client_that_closes_the_stream_of_the_background_does_not(client: OpenAI, serving: Gateway) -> None:
    gate = serving.daemon.folder / "closed"
    with client.responses.create(model="alice", input=f"STUB-UNTIL:{gate}", stream=True, background=True) as stream:
        response = next(event.response for event in stream if event.type == "response.in_progress")
    gate.touch()
    assert wait_ended(client, response).status == "completed"


def test_a_permission_is_answered_by_the_id_that_the_stream_shows(client: OpenAI, serving: Gateway) -> None:
    with client.responses.create(model="alice", input="ASK-PERMISSION", stream=True) as stream:
        events = []
        for event in stream:
            events.append(event)
            if event.type == "response.output_item.added" and event.item.type == "mcp_call":
                request = event.item.approval_request_id
                if request is not None:
                    assert (event.item.server_label, event.item.name) == ("agentd", "ask_permission")
                    run = str(stream.response.headers["x-request-id"])
                    serving.ask("POST", f"/runs/{run}/answer", {"request_id": request, "decision": "allow"})
    last = events[-1]
    assert last.type == "response.completed"
    [asked] = [item for item in last.response.output if item.type == "mcp_call" and item.server_label == "agentd"]
    assert (asked.status, asked.output) == ("completed", "allow")


def test_a_failed_turn(client: OpenAI) -> None:
    failed = client.responses.create(model="alice", input="STUB-FAIL:usage_limit")
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "rate_limit_exceeded"


def test_a_request_that_is_repeated_makes_one_turn(serving: Gateway, traffic: Traffic) -> None:
    before = runs(serving)
    # The client gives up after a second, and sends the request again; on a busy machine often.
    with official(serving.url, traffic, retries=10, timeout=1.0) as client:
        response = client.responses.create(model="alice", input="STUB-SLEEP:1.5 hello")
    assert response.status == "completed"
    traffic.exchanges = [each for each in traffic.exchanges if each.body]
    assert runs(serving) == before + 1


def test_a_key_has_a_request_take_effect_once(client: OpenAI, serving: Gateway) -> None:
    headers, before = {"Idempotency-Key": "a-1"}, runs(serving)
    first = client.responses.create(model="alice", input="hello", extra_headers=headers)
    again = client.responses.with_raw_response.create(model="alice", input="hello", extra_headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.parse() == first
    with client.responses.create(
        model="bob", input="hello", stream=True, extra_headers={"Idempotency-Key": "b"}
    ) as one:
        kinds = [event.type for event in one]
    with client.responses.create(
        model="bob", input="hello", stream=True, extra_headers={"Idempotency-Key": "b"}
    ) as two:
        assert [event.type for event in two] == kinds
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.responses.create(model="alice", input="another", extra_headers=headers)
    assert refused.value.code == "idempotency_key_reused"
    assert runs(serving) == before + 2


def test_a_turn_outlives_the_gateway(alone: Gateway, traffic: Traffic) -> None:
    gate = alone.daemon.folder / "gate"
    with official(alone.url, traffic) as client:
        started = client.responses.create(model="alice", input=f"STUB-UNTIL:{gate} hello", background=True)
        wait_for(lambda: client.responses.retrieve(started.id).status == "in_progress", what="it is under way")
    alone.kill()
    alone.start()
    gate.touch()
    with official(alone.url, traffic) as client:
        ended = wait_ended(client, started)
    assert ended.status == "completed"
    assert ended.output_text.count("hello") == 1


def test_a_stopping_gateway_says_so_and_leaves_the_turn(alone: Gateway, traffic: Traffic) -> None:
    gate = alone.daemon.folder / "gate"
    with (
        official(alone.url, traffic) as client,
        client.responses.create(model="alice", input=f"STUB-UNTIL:{gate} hello", stream=True) as stream,
    ):
        identity = next(event.response.id for event in stream if event.type == "response.in_progress")
        assert alone.process is not None
        alone.process.send_signal(signal.SIGTERM)
        last = list(stream)[-1]
    assert last.type == "error"
    assert alone.wait_exit() == 0
    alone.start()
    gate.touch()
    with (
        official(alone.url, traffic) as client,
        client.responses.retrieve(identity, stream=True, starting_after=last.sequence_number) as rest,
    ):
        events = list(rest)
    assert events[0].sequence_number == last.sequence_number + 1
    assert events[-1].type == "response.completed"
