"""Parts of the renderer by themselves: what is typed, shown, told and read."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.acp import gemini, rpc, session
from agentd.acp.line import Action, Choose, Interrupt, Leave, Line, Submit
from agentd.acp.outbox import Outbox, posted
from agentd.acp.permissions import Permissions
from agentd.acp.reading import choose, cost_of, explain, failure_of, options_of, outcome_of, usage_of
from agentd.acp.rpc import Agent, Handlers
from agentd.acp.screen import Screen, harmless
from agentd.acp.session import Session, StartError
from agentd.acp.turn import Turn
from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.turns.acp.adapter import AcpWatch
from agentd.turns.adapter import Ground, Hook, LiveRun
from agentd.turns.custom.events import event_of
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)
from agentd.turns.file_changes import FileChanges
from agentd.turns.run_watch import RunWatch
from tests.turns.claude_run import PROCESS, Outlet, Terminal, me

EVENTS: list[TurnEvent] = [
    Started("t", "p"),
    TextDelta("x"),
    Text("x"),
    ToolStarted("1", "execute", "ls"),
    ToolCompleted("1", ok=False),
    PermissionAsked("r", "execute", "ls", "1", ("Allow", "Reject")),
    PermissionResolved("r", Decision.DENY),
    Usage(1, 2, 3, 4, 0.5),
    Ended(Outcome.FAILED, "x", Failure.USAGE_LIMIT, "no"),
]


# -- the line


def typed(line: Line, *keys: str, asked: bool = False) -> list[Action]:
    return [action for each in keys for action in line.feed(each.encode(), asked=asked)]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        pytest.param(["abc", "\x7f", "d"], "abd", id="backspace"),
        pytest.param(["abc", "\x1b[D", "\x1b[D", "x"], "axbc", id="left"),
        pytest.param(["abc", "\x1bOH", "x", "\x1b[F", "y"], "xabcy", id="home and end"),
        pytest.param(["one two ", "\x17", "x"], "onex", id="a word"),
        pytest.param(["abc", "\x1b[D", "\x0b"], "ab", id="to the end"),
        pytest.param(["abc", "\x15", "x"], "x", id="all"),
        pytest.param(["abc", "\x01", "\x1b[3~"], "bc", id="delete"),
        pytest.param(["a", "\n", "b", "\x1b\r", "c"], "a\nb\nc", id="line breaks"),
        pytest.param(["\x1b[200~a\rb\r\nc\x1b[0m\x1b[201~d"], "a\nb\nc[0md", id="a paste"),
        pytest.param(["\x1b[20", "0~a\x1b[2", "01~b"], "ab", id="a paste in pieces"),
        pytest.param(["\x1b[1;5C", "\x1bOP", "\x1b[<0;1;1M", "\x07\x00", "a"], "a", id="other keys"),
    ],
)
def test_keys_edit_the_line(keys: list[str], text: str) -> None:
    line = Line()
    assert typed(line, *keys) == []
    assert line.text == text
    assert typed(line, "\r") == [Submit(text)]
    assert line.text == ""


def test_keys_that_act() -> None:
    assert typed(Line(), "\x03", "\x04", "\r", "  \r") == [Interrupt(), Leave()]
    # C-d leaves only what is empty.
    assert typed(Line(), "a\x04") == []


@pytest.mark.parametrize(
    ("keys", "actions"),
    [
        ("2\r", [Choose(2)]),
        (" 2 \r", [Choose(2)]),
        ("2 and more\r", [Submit("2 and more")]),
        ("0\r", [Submit("0")]),
        ("٢\r", [Submit("٢")]),
        ("\x1b[200~2\x1b[201~\r", [Submit("2")]),
        ("\x1b[200~2\x1b[201~\x15\x7f2\r2\r", [Submit("2"), Choose(2)]),
    ],
)
def test_only_a_number_typed_alone_answers(keys: str, actions: list[Action]) -> None:
    assert typed(Line(), keys, asked=True) == actions
    assert not any(isinstance(action, Choose) for action in typed(Line(), keys))


@given(data=st.binary(max_size=200), columns=st.integers(1, 40))
def test_no_key_breaks_the_line(data: bytes, columns: int) -> None:
    line = Line()
    for byte in data:
        line.feed(bytes([byte]), asked=False)
    assert 0 <= line.at <= len(line.text)
    shown, at = line.shown(columns)
    assert shown.isprintable()
    assert at < columns


# -- the screen


@given(text=st.text())
def test_nothing_that_an_agent_says_acts_on_the_terminal(text: str) -> None:
    shown = harmless(text)
    assert all(each in "\n\t" or each.isprintable() or each in "\u200c\u200d" for each in shown)
    printed = Screen(10, 20).say("message", text)
    assert printed.count("\x1b") == printed.replace(shown, "", 1).count("\x1b")


@pytest.mark.parametrize(("rows", "columns"), [(12, 30), (40, 120), (5, 10), (24, 80)])
def test_another_size_shows_the_end_of_the_conversation_again(rows: int, columns: int) -> None:
    screen = Screen(24, 80)
    terminal = pyte.Screen(80, 24)
    stream = pyte.Stream(terminal)

    def feed(text: str) -> None:
        # As the terminal's driver does.
        stream.feed(text.replace("\n", "\r\n"))

    feed(screen.open())
    for number in range(40):
        feed(screen.row(f"line {number}", "2"))
    feed(screen.say("message", "in the mid"))
    feed(screen.typed("half", 4))
    terminal.resize(rows, columns)
    # What was printed before we knew of it is anywhere.
    feed(screen.say("message", "dle"))
    feed(screen.resize(rows, columns))
    feed(screen.say("message", " of it"))
    shown = "".join(terminal.display[: screen.rows - 2]).replace(" ", "")
    assert shown.endswith("line39inthemiddleofit")
    assert shown.count("line39") == 1
    assert terminal.display[-1].rstrip() == "> half"
    assert (terminal.cursor.y, terminal.cursor.x) == (rows - 1, 6)


# -- what is told


def told(batch: bytes) -> list[TurnEvent]:
    found = [event_of(Hook(each["event"], each), "n") for each in json.loads(batch)["events"]]
    assert None not in found
    return [event for event in found if event is not None]


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_posted_is_read_as_it_was(event: TurnEvent) -> None:
    assert event_of(Hook(str(posted(event)["event"]), json.loads(json.dumps(posted(event)))), "n") == event


def test_a_batch_is_the_same_until_it_is_taken_and_pieces_that_wait_are_joined() -> None:
    outbox = Outbox("s")
    outbox.put(Started("t", "p"))
    outbox.put(TextDelta("a"))
    batch = outbox.batch()
    outbox.put(TextDelta("b"))
    outbox.put(TextDelta("c"))
    assert outbox.batch() == batch
    assert told(batch) == [Started("t", "p"), TextDelta("a")]
    outbox.taken()
    assert told(outbox.batch()) == [TextDelta("bc")]
    assert json.loads(outbox.batch())["n"] == json.loads(batch)["n"] + 1
    outbox.taken()
    assert not outbox.pending


def test_another_daemon_is_told_where_it_stands_and_of_the_end_that_it_asks_for() -> None:
    outbox = Outbox("s")
    for event in (Started("t", "p"), TextDelta("a"), ToolStarted("1", "x", "ls"), PermissionAsked("r", "x", "ls", "1")):
        outbox.put(event)
    outbox.batch()
    outbox.taken()
    outbox.put(TextDelta("b"))
    outbox.batch()
    outbox.unknown(None)
    again = told(outbox.batch())
    assert again[:2] == [Started("t", "p"), TextDelta("a")]
    assert again[-1] == TextDelta("b")
    assert {type(event) for event in again} == {Started, TextDelta, ToolStarted, PermissionAsked}
    end = Ended(Outcome.COMPLETED, "ab")
    outbox.put(end)
    outbox.taken()
    outbox.batch()
    outbox.taken()
    outbox.unknown("other")
    assert told(outbox.batch()) == []
    outbox.unknown("t")
    assert told(outbox.batch()) == [Started("t", "p"), Usage(), end]


@pytest.mark.parametrize("piece", ["x", "\N{GRINNING FACE}", "\x01", "\ud800", '"'])
def test_no_hook_is_longer_than_agentd_reads(piece: str) -> None:
    outbox = Outbox("s")
    outbox.put(Started("t", piece * 2_000_000))
    outbox.put(Ended(Outcome.COMPLETED, piece * 2_000_000))
    while outbox.pending:
        batch = outbox.batch()
        assert len(batch) <= 1 << 20
        assert told(batch)
        outbox.taken()


@pytest.mark.thorough
def test_a_daemon_that_stays_away_costs_no_memory() -> None:
    outbox = Outbox("s")
    for number in range(12_000):
        outbox.put(Started(str(number), "p"))
        outbox.put(Ended(Outcome.COMPLETED, "x"))
    batches, last = 0, list[TurnEvent]()
    while outbox.pending:
        last = told(outbox.batch())
        outbox.taken()
        batches += 1
    assert last[-2:] == [Started("11999", "p"), Ended(Outcome.COMPLETED, "x")]
    assert batches < 20


# -- what agents say


@pytest.mark.parametrize(
    ("code", "message", "data", "failure"),
    [
        pytest.param(429, "You have exhausted your daily quota on this model.", {}, Failure.USAGE_LIMIT, id="gemini"),
        pytest.param(401, '{"type":"error"}', {}, Failure.AUTH_ERROR, id="gemini 401"),
        pytest.param(
            -32603,
            "Internal error: Request rejected (429)",
            {"errorKind": "rate_limit"},
            Failure.USAGE_LIMIT,
            id="claude",
        ),
        pytest.param(-32000, "Authentication required", {}, Failure.AUTH_ERROR, id="claude and codex 401"),
        pytest.param(
            -32603,
            "Internal error",
            {"message": "You\u2019ve hit your usage limit.", "codexErrorInfo": "usageLimitExceeded"},
            Failure.USAGE_LIMIT,
            id="codex",
        ),
        pytest.param(-32603, "Internal error: stub error 401", {"service": "x"}, Failure.AUTH_ERROR, id="opencode"),
        pytest.param(-32603, "Internal error", {"details": "line 4290"}, Failure.OTHER, id="other"),
    ],
)
def test_failures_of_real_agents_are_told_apart(
    code: int, message: str, data: Mapping[str, object], failure: Failure
) -> None:
    assert failure_of(code, message, data) is failure


def test_the_words_of_an_error_may_be_in_its_data() -> None:
    assert explain("Internal error", {"message": "no quota"}) == "Internal error: no quota"
    assert explain("no quota", {"details": "no quota"}) == "no quota"


def test_stop_reasons_and_usage_are_read() -> None:
    assert outcome_of("end_turn") == (Outcome.COMPLETED, None)
    assert outcome_of("cancelled") == (Outcome.INTERRUPTED, None)
    assert outcome_of("refusal")[0] is Outcome.FAILED
    assert "exploded" in (outcome_of("exploded")[1] or "")
    assert usage_of({"usage": {"inputTokens": 1, "cachedWriteTokens": 2}}, None) == Usage(1, 0, 0, 2)
    assert usage_of({"_meta": {"quota": {"token_count": {"input_tokens": 3}}}}, None) == Usage(3)
    # codex: nothing is known of an interrupted turn.
    assert usage_of({"usage": None, "_meta": {"quota": {"token_count": None}}}, None) is None
    assert cost_of({"cost": {"amount": 0.5, "currency": "USD"}}) == 0.5
    assert cost_of({"cost": {"amount": 0.5, "currency": "EUR"}}) is None


def test_an_answer_is_never_taken_for_more_than_it_says() -> None:
    offered = [("a", "Always", "allow_always"), ("n", "No", "reject_always"), ("", "no id", "allow_once")]
    options = options_of({"options": [dict(zip(("optionId", "name", "kind"), each, strict=True)) for each in offered]})
    assert [option.id for option in options] == ["a", "n"]
    assert choose(options, "allow", "") is None
    assert choose(options, "deny", "") == options[1]
    assert choose(options, "answer", "Always") == options[0]
    assert choose(options, "answer", "a") == options[0]
    assert choose(options, "answer", "yes") is None
    assert choose(options, "expired", "Always") is None


def test_gemini_would_lose_a_session_of_this_minute(tmp_path: Path) -> None:
    chats = tmp_path / ".gemini" / "tmp" / "work" / "chats"
    chats.mkdir(parents=True)
    (chats / "session-2026-11-29T16-29-4c20b5a3.jsonl").touch()
    at = 1_795_969_757.0  # 2026-11-29T16:29:17Z
    session = "4c20b5a3-d709-4b9e-bf46-af0e04a9f822"
    assert gemini.would_be_lost(session, {"HOME": str(tmp_path)}, at)
    assert gemini.would_be_lost(session, {"HOME": "/nowhere", "GEMINI_CLI_HOME": str(tmp_path)}, at)
    assert not gemini.would_be_lost(session, {"HOME": str(tmp_path)}, at + 60)
    assert not gemini.would_be_lost("*", {"HOME": str(tmp_path)}, at)


# -- the process


@dataclass
class Shown:
    """Where the conversation is shown, and who is told."""

    rows: list[str] = field(default_factory=list)
    events: list[TurnEvent] = field(default_factory=list)

    def say(self, kind: str, text: str, style: str = "") -> None:
        del kind, style
        self.rows.append(text)

    def row(self, text: str, style: str = "", mark: str = "") -> None:
        del style, mark
        self.rows.append(text)

    def status(self, text: str, name: str) -> None:
        pass

    def identified(self, session: str) -> None:
        pass

    def event(self, event: TurnEvent) -> None:
        self.events.append(event)


def adapter_watch() -> tuple[AcpWatch, RunWatch]:
    looks = Looks()
    ground = Ground(looks, FileChanges(looks), me(), time.time)
    facts = LaunchFacts(
        agent="a",
        run_id="run-1",
        harness="acp",
        argv=(),
        environment={},
        workdir=Path("/"),
        home=Path("/"),
        stays=True,
        file=Path("/file"),
        socket=Path("/socket"),
    )
    run = RunWatch(LiveRun(facts, PROCESS, {}, Terminal()), ground, Outlet())
    return AcpWatch(run.run, run, ground), run


async def test_a_batch_that_comes_again_or_from_another_process_is_not_taken() -> None:
    watch, run = adapter_watch()
    outbox = Outbox("s")
    outbox.put(Started("t", "p"))
    outbox.put(TextDelta("a"))
    body = json.loads(outbox.batch())

    def hook(name: str, body: dict[str, object], pid: int = PROCESS.pid) -> Hook:
        return Hook(name, body, pid)

    assert await watch.hook(hook("events", body, 1)) is None
    assert not run.talked
    # It knows nothing yet: of a batch that only goes on it can make nothing.
    assert await watch.hook(hook("events", {**body, "whole": False})) == b'{"unknown": true, "turn": null}'
    assert await watch.hook(hook("next", {})) == b'{"unknown": true, "turn": null}'
    for _ in range(2):
        assert await watch.hook(hook("events", body)) is None
    assert run.conversation.turn is not None
    assert run.conversation.turn.text == "a"
    assert run.session == "s"
    delivering = asyncio.create_task(watch.deliver("hello"))
    await asyncio.sleep(0)
    assert await watch.hook(hook("next", {})) == b'{"message": "hello"}'
    await delivering


@pytest.mark.parametrize(
    "body",
    [{}, {"n": "1"}, {"n": 1}, {"n": 1, "whole": True, "events": 5, "answers": [1, {}], "conversation": 7}],
)
async def test_a_renderer_that_says_nonsense_costs_nothing(body: dict[str, object]) -> None:
    watch, run = adapter_watch()
    await watch.hook(Hook("events", body, PROCESS.pid))
    await watch.hook(Hook("events", {**body, "whole": True, "events": [5, {"event": "x"}, {}]}, PROCESS.pid))
    await watch.hook(Hook("other", None, PROCESS.pid))
    assert run.conversation.turn is None


async def test_the_first_answer_counts_and_the_next_is_told_so() -> None:
    shown = Shown()
    agent = Agent(Handlers(lambda *_: None, lambda *_: None, lambda _: None))
    await agent.start(["cat"], {})
    permissions = Permissions("run", shown, shown, agent)
    asked = {"toolCall": {"toolCallId": "1", "title": "ls"}, "options": [{"optionId": "o", "kind": "allow_once"}]}
    permissions.ask(7, asked, Turn("t", shown, shown))
    permissions.choose(1)
    assert permissions.answer("run.p1", "deny", "") == "it was answered already"
    assert permissions.typed_for(time.monotonic())
    assert not permissions.typed_for(time.monotonic() + 10)
    # More than anybody can answer are cancelled; what has no options is refused.
    for number in range(100):
        permissions.ask(number, asked, Turn("t", shown, shown))
    permissions.ask(100, {"toolCall": {}}, Turn("t", shown, shown))
    assert sum(isinstance(event, PermissionAsked) for event in shown.events) == 1 + 32
    permissions.drop()
    assert permissions.first is None
    await agent.end(1.0)


async def test_an_agent_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "_START_LIMIT", 0.1)
    mute = Session("run", Shown(), Shown())
    await mute.agent.start([sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"], {})
    reading = asyncio.create_task(mute.agent.read())
    with pytest.raises(StartError, match="opened no session within"):
        await mute.open(tmp_path, None)
    reading.cancel()
    await asyncio.wait([reading])
    assert await mute.agent.end(5.0) == 0


async def test_a_line_that_is_too_long_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "_LONGEST_LINE", 1000)
    heard: list[str] = []
    agent = Agent(Handlers(lambda *_: None, lambda method, _: heard.append(method), heard.append))
    code = "import sys; sys.stdout.write('x' * 300000 + '\\n\\n' + '{\"method\": \"m\"}\\n[[[[\\n{}\\n{\"id\": 9}\\n')"
    await agent.start([sys.executable, "-I", "-S", "-c", code], {})
    await agent.read()
    assert heard == ["m", "[[[["]
    with pytest.raises(rpc.GoneError):
        await agent.call("initialize", {})
    assert await agent.wait() == 0
