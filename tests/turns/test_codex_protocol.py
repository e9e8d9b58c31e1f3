"""The app server of Codex, as recorded: its messages become turns. And what is added to a launch to have one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.codex.adapter import CODEX
from agentd.turns.codex.launch import RESUMED, SERVER
from agentd.turns.codex.protocol import Reader
from agentd.turns.codex.requests import Asked, Method, read_request, reply
from agentd.turns.conversation import Conversation, Turn, take
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    Started,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)

SAMPLE = Path(__file__).with_name("samples") / "codex-server-f1.jsonl"
REPLY = "STUB-REPLY: "
Message = Mapping[str, object]


def recorded(client: str) -> list[Message]:
    """What the server sent to one of the clients that the recording has."""
    lines = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    return [message for who, way, message in lines if who == client and way == "in"]


def tell(reader: Reader, message: Message) -> list[TurnEvent]:
    method, said = message.get("method"), message.get("params")
    if not isinstance(method, str) or not isinstance(said, dict):
        return []
    if "id" in message:
        return [*reader.request(message["id"], method, said)]
    return [*reader.read(method, said)]


def turns_of(events: Iterator[TurnEvent]) -> list[Turn]:
    conversation, turns = Conversation(), list[Turn]()
    for at, event in enumerate(events):
        last, conversation = conversation.last, take(conversation, event, float(at))
        if conversation.last is not None and (last is None or last.id != conversation.last.id):
            turns.append(conversation.last)
    return turns


def test_the_turns_of_a_recorded_day_are_told() -> None:
    reader = Reader(0.0)
    events = [event for message in recorded("GW") for event in tell(reader, message)]
    told = [
        (turn.prompt, turn.end.outcome, turn.end.final_text, turn.end.failure)
        for turn in turns_of(iter(events))
        if turn.end is not None
    ]
    bash = [f"STUB-BASH:echo hi > /srv/agents/work/cxf{n}" for n in (1, 2, 3)]
    assert told == [
        *((text, Outcome.COMPLETED, REPLY + text, None) for text in bash),
        ("STUB-TRICKLE:20 a\nb\nc\nd\ne", Outcome.INTERRUPTED, None, None),
        ("STUB-LIMIT x", Outcome.FAILED, None, Failure.USAGE_LIMIT),
        ("STUB-STATUS:401 x", Outcome.FAILED, None, Failure.AUTH_ERROR),
        ("STUB-STATUS:500 x", Outcome.FAILED, None, Failure.OTHER),
    ]
    assert sum((event for event in events if isinstance(event, Usage)), Usage()) == Usage(60, 30)
    asked = [event for event in events if isinstance(event, PermissionAsked)]
    assert [(each.request, each.name, each.text) for each in asked][:2] == [
        ("0", "exec_command", "echo hi > /srv/agents/work/cxf1"),
        ("1", "exec_command", "echo hi > /srv/agents/work/cxf2"),
    ]
    tools = [event for event in events if isinstance(event, ToolStarted | ToolCompleted)]
    assert tools[:2] == [
        ToolStarted(asked[0].tool or "", "exec_command", "echo hi > /srv/agents/work/cxf1"),
        ToolCompleted(asked[0].tool or "", ok=True),
    ]
    # The last one still waits when the recording ends.
    assert reader.doing == (Activity.WAITING_PERMISSION, "echo hi > /srv/agents/work/cxf4")
    assert any(isinstance(event, TextDelta) for event in events)


def test_who_comes_back_in_a_turn_is_told_it_and_asked_again() -> None:
    reader = Reader(2e9)
    messages = iter(recorded("GW2"))
    result = next(each["result"] for each in messages if "thread" in str(each.get("result")))
    assert isinstance(result, dict)
    thread = result["thread"]
    reader.loaded(thread)
    page = {"data": [*reversed(thread["turns"])]}
    events = [*reader.caught_up(thread["id"], {**result, "initialTurnsPage": page}, None)]
    under_way = "STUB-BASH:echo hi > /srv/agents/work/cxf4"
    assert isinstance(events[0], Started)
    assert events[0].prompt == under_way
    events += [event for message in messages for event in tell(reader, message)]
    assert isinstance(events[1], PermissionAsked)
    first_turn = turns_of(iter(events))[0]
    assert first_turn.end == Ended(Outcome.COMPLETED, REPLY + under_way)


THREAD = {"id": "t", "source": "vscode", "threadSource": "user", "createdAt": 10, "status": {"type": "idle"}}


def reading(*messages: tuple[str, Message], since: float = 0.0) -> tuple[Reader, list[TurnEvent]]:
    reader = Reader(since)
    reader.loaded(THREAD)
    return reader, [event for method, said in messages for event in reader.read(method, {"threadId": "t", **said})]


def turn(status: str = "inProgress", **more: object) -> Message:
    return {"turn": {"id": "1", "items": [], "status": status, **more}}


def message(text: str = "go") -> Message:
    content = [{"type": "text", "text": text}]
    return {"turnId": "1", "item": {"type": "userMessage", "id": "u", "content": content}}


@pytest.mark.parametrize(
    "thread",
    [
        {**THREAD, "ephemeral": True},
        {**THREAD, "threadSource": "thread_title"},
        {**THREAD, "parentThreadId": "p"},
        {**THREAD, "source": {"subAgent": "review"}},
        {},
    ],
)
def test_threads_that_are_no_conversation_are_passed_over(thread: Message) -> None:
    reader = Reader(0.0)
    assert [*reader.read("thread/started", {"thread": thread})] == []
    assert [*reader.read("turn/started", {"threadId": "t", **turn()})] == []
    assert (reader.current, reader.doing) == (None, None)


def test_a_conversation_that_is_begun_anew_is_followed() -> None:
    reader, _ = reading()
    [*reader.read("thread/started", {"thread": {**THREAD, "id": "new"}})]
    assert reader.current == "new"
    # One that goes on in the background is gone back to when it works.
    [*reader.read("thread/status/changed", {"threadId": "t", "status": {"type": "active", "activeFlags": []}})]
    assert (reader.current, reader.doing) == ("t", (Activity.WORKING, ""))


def test_a_turn_is_not_left_for_another_conversation() -> None:
    reader, events = reading(("turn/started", turn()), ("item/completed", message()))
    assert [*reader.read("thread/started", {"thread": {**THREAD, "id": "new"}})] == []
    assert reader.current == "t"
    assert events == [Started("1", "go")]


def test_a_turn_in_which_nothing_was_said_is_none() -> None:
    _, events = reading(("turn/started", turn()), ("turn/completed", turn("completed")))
    assert events == []


def test_a_turn_whose_end_was_not_heard_is_lost() -> None:
    reader, _ = reading(("turn/started", turn()), ("item/completed", message()))
    reader.disconnected()
    assert reader.doing is None
    answer = {"thread": THREAD, "initialTurnsPage": {"data": []}}
    assert [*reader.caught_up("t", answer, "1")] == [Ended(Outcome.LOST, error="its end was not heard")]
    assert reader.turn is None


def test_a_turn_that_ended_meanwhile_is_told_and_no_older_one() -> None:
    reader, _ = reading(("turn/started", turn()), ("item/completed", message()), since=100.0)
    answered = {"id": "a", "type": "agentMessage", "text": "done"}
    turns = [{**turn("completed", items=[answered])["turn"], "startedAt": 99}, {"id": "0", "status": "completed"}]  # type: ignore[dict-item]
    answer = {"thread": THREAD, "initialTurnsPage": {"data": turns}}
    assert [*reader.caught_up("t", answer, "1")][-1] == Ended(Outcome.COMPLETED, "done")
    assert [*reader.caught_up("t", answer, None)] == []


@pytest.mark.parametrize(
    ("info", "failure"),
    [
        ("usageLimitExceeded", Failure.USAGE_LIMIT),
        ("unauthorized", Failure.AUTH_ERROR),
        ({"responseStreamConnectionFailed": {"httpStatusCode": 403}}, Failure.AUTH_ERROR),
        ({"httpConnectionFailed": {"httpStatusCode": 429}}, Failure.USAGE_LIMIT),
        ({"httpConnectionFailed": {"httpStatusCode": None}}, Failure.OTHER),
        ("other", Failure.OTHER),
        (7, Failure.OTHER),
    ],
)
def test_errors_have_their_kind(info: object, failure: Failure) -> None:
    error = {"message": "no", "codexErrorInfo": info}
    _, events = reading(("turn/started", turn()), ("turn/completed", turn("failed", error=error)))
    assert events == [Started("1"), Ended(Outcome.FAILED, None, failure, "no")]


def used(total: int) -> tuple[str, Message]:
    return "thread/tokenUsage/updated", {"tokenUsage": {"total": {"inputTokens": total, "outputTokens": 1}}}


def test_usage_is_told_once() -> None:
    assert reading(used(10), used(10), used(15))[1] == [Usage(10, 1), Usage(5)]
    # What a thread had used before is no news.
    assert reading(used(10), used(15), since=11.0)[1] == [Usage(5)]


def asked(method: Method, **said: object) -> Asked:
    found = read_request(3, method, {"threadId": "t", "turnId": "1", "itemId": "call", **said})
    assert found is not None
    return found


@pytest.mark.parametrize("method", [Method.COMMAND, Method.FILES])
def test_permissions_are_answered(method: Method) -> None:
    assert reply(asked(method), Answer(Decision.ALLOW)) == {"decision": "accept"}
    assert reply(asked(method), Answer(Decision.DENY)) == {"decision": "decline"}
    for wrong in (Answer(Decision.ANSWER, "x"), Answer(Decision.DENY, "because")):
        with pytest.raises(TurnsError, match="expected"):
            reply(asked(method), wrong)


def test_more_permissions_are_given_for_the_turn() -> None:
    wanted = asked(Method.PERMISSIONS, permissions={"network": {"enabled": True}})
    given = {"permissions": {"network": {"enabled": True}}, "scope": "turn"}
    assert reply(wanted, Answer(Decision.ALLOW)) == given
    assert reply(wanted, Answer(Decision.DENY)) == {"permissions": {}, "scope": "turn"}


def test_questions_are_answered() -> None:
    options = [{"label": "Red", "description": ""}, {"label": "Blue", "description": ""}]
    one = {"id": "q", "header": "h", "question": "Which colour?", "options": options}
    question = asked(Method.QUESTIONS, questions=[one])
    assert question.event.text == "Which colour?"
    assert reply(question, Answer(Decision.ANSWER, "Blue")) == {"answers": {"q": {"answers": ["Blue"]}}}
    two = asked(Method.QUESTIONS, questions=[one, {**one, "id": "r"}])
    answers = {"q": {"answers": ["Blue"]}, "r": {"answers": ["7"]}}
    assert reply(two, Answer(Decision.ANSWER, "Blue\n7")) == {"answers": answers}
    for wrong in (Answer(Decision.ANSWER, "Blue"), Answer(Decision.DENY)):
        with pytest.raises(TurnsError, match="expected"):
            reply(two, wrong)


def test_an_answer_at_the_terminal_resolves_a_request() -> None:
    reader, _ = reading(("turn/started", turn()))
    wanted = {"threadId": "t", "turnId": "1", "itemId": "c", "command": "make"}
    assert [*reader.request(0, Method.COMMAND, wanted)] == [
        Started("1"),
        PermissionAsked("0", "exec_command", "make", "c", arguments={"command": "make"}),
    ]
    resolved = {"threadId": "t", "requestId": 0}
    assert [*reader.read("serverRequest/resolved", resolved)] == [PermissionResolved("0", Decision.EXPIRED)]
    [*reader.request(1, Method.COMMAND, wanted)]
    reader.decided.add("1")
    assert [*reader.read("serverRequest/resolved", {"threadId": "t", "requestId": 1})] == []
    # What nobody here knows is the terminal's to answer.
    assert [*reader.request(2, "currentTime/read", {"threadId": "t"})] == []


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"turn": 5},
        {"turn": {"id": 7}},
        {"item": []},
        {"turnId": "1", "item": {"type": 5}},
        {"status": {"type": []}},
    ],
)
def test_what_is_not_understood_says_nothing(said: Message) -> None:
    methods = ("turn/started", "turn/completed", "item/started", "item/completed", "thread/status/changed", "nonsense")
    for method in methods:
        reader, events = reading((method, said))
        assert events == []
        assert reader.doing is None or reader.doing == (Activity.IDLE, "")


NO_OFFER = ("-c", "notice.hide_rate_limit_model_nudge=true")
OFFER = "'-c' 'notice.hide_rate_limit_model_nudge=true'"


def facts(*argv: str, **more: object) -> LaunchFacts:
    known = LaunchFacts(
        "a",
        "r",
        "codex",
        argv,
        {},
        Path("/w"),
        Path("/h"),
        True,
        Path("/run/r.turns-file"),
        Path("/run/a.turns-socket"),
    )
    return replace(known, **more)  # type: ignore[arg-type]


def script(*argv: str, **more: object) -> str:
    added = CODEX.additions(facts(*argv, **more))
    assert added.argv == ("/bin/sh", "/run/r.turns-file")
    assert added.file is not None
    assert added.memo[SERVER] == "/run/a.turns-socket"
    for shell in (["sh", "-n"], ["bash", "--posix", "-n"]):
        subprocess.run(shell, input=added.file, check=True)
    return added.file.decode()


def test_a_program_that_stays_is_a_client_of_a_server() -> None:
    given = ("--no-daemon", "-m", "x", "-c", "a=1", "--enable=b", "--", "--no-daemon @SOCKET@")
    text = script("codex", *given)
    assert f"exec 'codex' {OFFER} '--no-daemon' '-m' 'x' '-c' 'a=1' '--enable=b' '--' '--no-daemon @SOCKET@'" in text
    assert f"""app-server {OFFER} '-c' 'a=1' '--enable=b' --listen 'unix:///run/a.turns-socket'""" in text
    given_too = f"{OFFER} '-m' 'x' '-c' 'a=1' '--enable=b' '--' '--no-daemon @SOCKET@'"
    remote = f"--remote 'unix:///run/a.turns-socket' {given_too}"
    assert text.splitlines()[-1].endswith(remote)


def test_a_conversation_is_gone_on_with() -> None:
    text = script("codex", "-m", "x", resume="c")
    assert text.splitlines()[-1].endswith(f"--remote 'unix:///run/a.turns-socket' 'resume' 'c' {OFFER} '-m' 'x'")
    assert CODEX.additions(facts("codex", resume="c")).memo[RESUMED] == "c"


def test_a_conversation_is_gone_on_with_under_the_permissions_of_its_arguments() -> None:
    """Codex 0.169.0: "Permission overrides are not supported when resuming a remote task", exit status 1."""
    script("codex", "-a", "on-request")
    added = CODEX.additions(facts("codex", "-a", "on-request", resume="c"))
    assert added.argv == ("codex", "resume", "c", "--no-daemon", *NO_OFFER, "-a", "on-request")
    assert (added.file, added.memo) == (None, {RESUMED: "c"})


@pytest.mark.parametrize(
    "args",
    [
        ("--remote", "ws://x"),
        ("--remote=ws://x",),
        ("--add-dir", "/x"),
        ("--worktree",),
        ("--oss",),
        ("review",),
        ("exec", "x"),
    ],
)
def test_what_a_server_does_not_take_is_launched_without_one(args: tuple[str, ...]) -> None:
    added = CODEX.additions(facts("codex", *args))
    # Without that it would share a server that outlasts the run.
    alone = ("--no-daemon",) if args[0] in ("--add-dir", "--worktree", "--oss") else ()
    offer = () if args[0] in ("review", "exec") else NO_OFFER
    assert added.argv == ("codex", *alone, *offer, *args)
    assert added.file is None
    assert SERVER not in added.memo


def test_the_offer_of_another_model_is_left_to_who_decides_of_it() -> None:
    text = script("codex", "-c", "notice.hide_rate_limit_model_nudge=false")
    assert "=true" not in text


def test_a_run_that_ends_with_its_answer_keeps_its_command_line() -> None:
    argv = ("codex", "exec", "--skip-git-repo-check", "go")
    assert CODEX.additions(facts(*argv, stays=False)).argv == argv
