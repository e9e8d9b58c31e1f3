"""Sending at a terminal, step by step, against a scripted screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agentd.turns.sending import (
    Do,
    GoneError,
    LongLineError,
    NoBoxError,
    NotReadError,
    NotTakenError,
    NotTypedError,
    Outcome,
    Paste,
    PasteAndEnter,
    Reply,
    Screen,
    Sending,
    Step,
    Wait,
    held_in_box,
)

BOX = "> "


@dataclass
class Scripted:
    """A terminal: what stands in its box, and what Enter does with it."""

    text: str = ""
    on_enter: Callable[[Scripted], None] = lambda agent: agent.take()
    shows: bool = True
    unread: int | None = 0
    gone_after: int = 99
    now: float = 0.0
    taken: list[str] = field(default_factory=list)
    entered: int = 0
    discarded: int = 0
    recorded: bool = False
    checks: int = 0
    broken: int = 0
    """How many line breaks stand behind the text."""
    torn: Callable[[float], bool] = lambda _now: False
    """Whether the screen is half drawn then: without its box."""
    reads_from: float = 0.0
    """When it first waits for input."""
    pasted: float | None = None

    def take(self) -> None:
        self.taken.append(self.text)
        self.text = ""

    def do(self, step: Step) -> Reply:
        self.now += 0.001
        match step:
            case Paste(text):
                self.text += text
                self.pasted = self.now
            case Do.WAITS:
                return Reply(self.now, waits=self.now >= self.reads_from)
            case Wait(seconds):
                self.now += seconds
            case Do.ENTER:
                self.entered += 1
                self.on_enter(self)
            case Do.CHECK:
                self.checks += 1
                if self.checks > self.gone_after:
                    raise GoneError("it ended")
            case Do.DISCARD:
                self.discarded += 1
                self.unread = 0
            case _:
                pass
        if self.torn(self.now):
            return Reply(self.now, Screen.of(("hello", ""), 0, 1), self.unread, self.recorded)
        rows = ("hello", BOX + (self.text if self.shows else ""), *("  " for _ in range(self.broken)))
        return Reply(self.now, Screen.of(rows, len(rows[-1]), len(rows) - 1), self.unread, self.recorded)

    def send(self, text: str, *, box: str | None = BOX, unfinished: str | None = None, lines: bool = False) -> Outcome:
        sending = Sending(text, True, box, unfinished, 0.0, 10.0, lines)
        steps = sending.steps()
        step = next(steps)
        try:
            while True:
                try:
                    reply = self.do(step)
                except GoneError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def test_what_the_box_held_is_taken() -> None:
    agent = Scripted()
    assert agent.send("hello") is Outcome.TAKEN
    assert (agent.taken, agent.entered) == (["hello"], 1)


def test_a_text_that_enter_would_complete_gets_a_space() -> None:
    agent = Scripted()
    agent.send("see @a", unfinished=r"@\S*\Z")
    assert agent.taken == ["see @a "]


def test_enter_is_pressed_again_only_while_the_box_holds_the_text() -> None:
    swallowed = Scripted(on_enter=lambda agent: agent.take() if agent.entered > 1 else None)
    assert swallowed.send("hello") is Outcome.TAKEN
    assert (swallowed.taken, swallowed.entered) == (["hello"], 2)

    def record(agent: Scripted) -> None:
        agent.recorded = True

    slow = Scripted(on_enter=record)
    assert slow.send("hello") is Outcome.TAKEN
    assert slow.entered == 1, "its record has it already"


@pytest.mark.parametrize("breaks", [1, 2, 3])
def test_an_enter_that_broke_the_line_took_nothing(breaks: int) -> None:
    def on_enter(agent: Scripted) -> None:
        if agent.broken < breaks:
            agent.broken += 1
        else:
            agent.broken = 0
            agent.take()

    busy = Scripted(on_enter=on_enter)
    assert busy.send("hello") is Outcome.TAKEN
    assert (busy.taken, busy.entered) == (["hello"], breaks + 1)


@pytest.mark.parametrize("moment", [3.0, 3.4])
def test_a_screen_that_is_half_drawn_is_no_menu(moment: float) -> None:
    def on_enter(agent: Scripted) -> None:
        if agent.entered == 2:
            agent.take()

    agent = Scripted(on_enter=on_enter, torn=lambda now: moment <= now < moment + 0.9)
    assert agent.send("hello") is Outcome.TAKEN
    assert agent.taken == ["hello"]


def test_a_box_that_is_empty_for_one_look_is_not() -> None:
    agent = Scripted(on_enter=lambda _agent: None)
    flickers = iter([True])

    def do(step: Step) -> Reply:
        reply = Scripted.do(agent, step)
        if agent.entered and step is Do.LOOK and next(flickers, False):
            return Reply(agent.now, Screen.of(("hello", BOX), len(BOX), 1))
        return reply

    agent.do = do  # type: ignore[method-assign]
    with pytest.raises(NotTakenError):
        agent.send("hello")
    assert agent.entered == 4


def test_a_menu_in_the_place_of_the_box_has_taken_the_message() -> None:
    agent = Scripted(on_enter=lambda _agent: None)
    agent.torn = lambda _now: agent.entered > 0
    assert agent.send("hello") is Outcome.TAKEN
    assert agent.entered == 1


def test_nothing_is_typed_into_a_draft_and_what_never_shows_is_not_entered() -> None:
    draft = Scripted(text="half a thought")
    with pytest.raises(NoBoxError, match="half a thought"):
        draft.send("hello")
    assert (draft.text, draft.entered) == ("half a thought", 0)
    blind = Scripted(shows=False)
    with pytest.raises(NotTypedError):
        blind.send("hello")
    assert blind.entered == 0
    deaf = Scripted(on_enter=lambda _agent: None)
    with pytest.raises(NotTakenError):
        deaf.send("hello")
    assert deaf.entered == 4


def test_an_agent_that_ends_meanwhile_leaves_nothing_for_a_shell() -> None:
    agent = Scripted(gone_after=1)
    with pytest.raises(GoneError):
        agent.send("touch pwned")
    assert (agent.entered, agent.discarded) == (0, 1)


def test_without_a_box_it_is_taken_once_it_is_read() -> None:
    assert Scripted().send("hello", box=None) is Outcome.TAKEN
    unread = Scripted(unread=5)
    with pytest.raises(NotReadError):
        unread.send("hello", box=None)
    assert unread.discarded == 1
    anothers = Scripted(unread=None, on_enter=lambda _agent: None)
    assert anothers.send("hello", box=None) is Outcome.SHOWN
    with pytest.raises(LongLineError, match="4096"):
        Scripted().send("x" * 4096, box=None, lines=True)


def test_what_a_box_holds_is_read_over_its_rows() -> None:
    screen = Screen.of(("> old", "------", "> one", "  two", "  three"), 7, 4)
    assert held_in_box(screen, "> ") == "one two three"
    assert held_in_box(Screen.of(("a question",), 5, 0), "> ") is None


def test_without_a_box_a_short_text_and_enter_are_one_step() -> None:
    sending = Sending("hello", True, None, None, 0.0, 10.0, reads_lines=False, at_once=True)
    agent, steps = Scripted(), sending.steps()
    done: list[Step] = [next(steps)]
    with contextlib.suppress(StopIteration):
        while True:
            done.append(steps.send(agent.do(done[-1])))
    assert PasteAndEnter("hello") in done
    assert Do.ENTER not in done
    long = Sending("x" * 2000, True, None, None, 0.0, 10.0, reads_lines=False, at_once=True)
    steps = long.steps()
    first = [next(steps), steps.send(agent.do(Do.LOCK)), steps.send(agent.do(Do.CHECK))]
    assert first == [Do.LOCK, Do.CHECK, Paste("x" * 2000)]


@pytest.mark.parametrize("reads_from", [0.0, 3.0, 60.0])
def test_without_a_box_it_is_waited_until_the_program_reads_and_not_for_ever(reads_from: float) -> None:
    agent = Scripted(reads_from=reads_from)
    steps = Sending("hello", True, None, None, 10.0, 10.0, reads_lines=False).steps()
    step = next(steps)
    with contextlib.suppress(StopIteration):
        while True:
            step = steps.send(agent.do(step))
    assert agent.pasted is not None
    wanted = min(reads_from, 10.0)
    assert wanted <= agent.pasted < wanted + 0.2
