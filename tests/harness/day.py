"""A day with a real agent: turns of which it is known what they have to be told as, and what was told of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from agentd.model.states import Activity
from tests.daemon.test_messages import Following
from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, DrivenCli
from tests.harness.stub_dialects import INPUT_TOKENS, OUTPUT_TOKENS
from tests.harness.stub_model import REPLY
from tests.harness.test_real_messages import message_of, send, wait_status
from tests.harness.test_real_screens import judged
from tests.support.waiting import wait_for

Json = dict[str, object]

ENTER_AGAIN = 3.0
"""Seconds after which a person presses Enter again: a loaded program takes the first for a part of what was typed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn, as it was or as it was told."""

    prompt: str
    outcome: str | None = "completed"
    text: str | None = None
    failure: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Day:
    """What is done with one agent, and what its turns were in truth."""

    driven: DrivenCli
    stream: Following
    turns: list[Turn] = field(default_factory=list)
    """In their order, as the stream has to tell them."""
    _messages: int = 0

    def was(
        self,
        prompt: str,
        *,
        outcome: str = "completed",
        text: str | None = None,
        failure: str | None = None,
        answers: int | None = None,
    ) -> None:
        """Note what a turn was.

        Parameters
        ----------
        prompt
            The message.
        outcome, failure
            How it ended.
        text
            The answer; of a turn that is complete the model's usual one.
        answers
            How often the model answered; once in a turn that is complete.
        """
        complete = outcome == "completed"
        number = int(complete) if answers is None else answers
        answer = f"{REPLY}{prompt}" if complete and text is None else text
        self.turns.append(Turn(prompt, outcome, answer, failure, INPUT_TOKENS * number, OUTPUT_TOKENS * number))

    def send(self, text: str) -> str:
        """Send a message by the API, and give its id."""
        self._messages += 1
        name = f"m{self._messages}"
        send(self.driven, name, text)
        return name

    def say(self, prompt: str, meanwhile: Callable[[], None] | None = None, **was: object) -> None:
        """Send a message, do something in its turn, and wait for its end.

        Parameters
        ----------
        prompt
            The message.
        meanwhile
            What to do once its turn has begun.
        was
            What the turn is, as `was` takes it.
        """
        name = self.send(prompt)
        if meanwhile is not None:
            wait_status(self.driven, name, "started")
            meanwhile()
        wait_status(self.driven, name, "ended")
        self.was(prompt, **was)  # type: ignore[arg-type]

    def type(self, text: str) -> None:
        """Type a message at the terminal as a person does, and wait until its turn has begun."""
        before = self.count("started")
        self.driven.daemon.tmux("send-keys", "-t", "=agent:", "-l", text)
        self.driven.wait_on_screen(text)
        pressed = 0.0

        def begun() -> bool:
            nonlocal pressed
            if self.count("started") > before:
                return True
            if time.monotonic() > pressed + ENTER_AGAIN:
                pressed = time.monotonic()
                self.press("Enter")
            return False

        wait_for(begun, DEADLINE, what=f"the turn of {text!r} has begun", explain=self.explain)

    def press(self, *keys: str) -> None:
        """Press keys at the terminal."""
        self.driven.daemon.tmux("send-keys", "-t", "=agent:", *keys)

    def wait_ends(self) -> None:
        """Wait until as many turns have ended as there were."""
        wait_for(
            lambda: self.count("ended") >= len(self.turns),
            DEADLINE,
            what=f"{len(self.turns)} turns have ended",
            explain=self.explain,
        )

    def answer(self, decision: str, text: str | None = None) -> None:
        """Answer what the agent asks by the API, as soon as it is known."""

        def taken() -> bool:
            return post(self.driven.daemon, "/v1/turns/agent/answer", {"decision": decision, "text": text})[0] == 200

        wait_for(taken, DEADLINE, what=f"the answer {decision} is taken", explain=self.explain)

    def at_dialog(self, activity: Activity, *keys: str) -> None:
        """Answer what the agent asks at the terminal, once the screen shows it and agentd tells of it."""

        def shown() -> bool:
            asked = self.driven.daemon.agents()["agent"]["activity"] == activity.value
            return asked and judged(self.driven).activity is activity

        wait_for(shown, DEADLINE, what=f"it asks: {activity}", explain=self.explain)
        self.press(*keys)

    def allow_and_interrupt(self) -> None:
        """Allow what the agent asks, and interrupt it while that runs."""
        self.answer("allow")
        self.interrupt()

    def interrupt(self) -> None:
        """Interrupt the turn by the API."""
        self.working()
        assert post(self.driven.daemon, "/v1/turns/agent/interrupt")[0] == 200

    def escape(self, again: str | None = None) -> None:
        """Interrupt the turn at the terminal; `again` is what asks for the key once more."""
        self.working()
        wait_for(
            lambda: judged(self.driven).activity is Activity.WORKING,
            DEADLINE,
            what="the screen shows that it works",
            explain=self.explain,
        )
        self.press("Escape")
        if again is not None:
            self.driven.wait_on_screen(again)
            self.press("Escape")

    def working(self) -> None:
        """Wait until the agent works."""
        self.wait_activity("working")

    def wait_activity(self, activity: str) -> None:
        """Wait until agentd tells of an activity."""
        wait_for(
            lambda: self.driven.daemon.agents()["agent"]["activity"] == activity,
            DEADLINE,
            what=f"it is {activity}",
            explain=self.explain,
        )

    def count(self, kind: str) -> int:
        """How many lines of a kind the stream has."""
        return self.stream.kinds().count(kind)

    def told(self) -> list[Turn]:
        """What the stream told of the turns."""
        return told(list(self.stream.lines))

    def explain(self) -> str:
        """Show the end of the stream and what the screen shows."""
        lines = "\n".join(json.dumps(line) for line in self.stream.lines[-12:])
        return f"{lines}\n{self.driven.daemon.screen('agent')}\n{self.driven.daemon.explain()}"

    def exactly(self) -> None:
        """Wait until all turns are told exactly, with what the model used, which comes late.

        Raises
        ------
        AssertionError
            If one is not, with how many are.
        """
        wait_for(lambda: self.told() == self.turns, DEADLINE / 4, what="all is told exactly", explain=self.compared)

    def compared(self) -> str:
        """Show each turn that was not told as it was."""
        found = self.told()
        pairs = list(zip(self.turns, found, strict=False))
        wrong = [f"was  {was}\ntold {each}" for was, each in pairs if was != each]
        right = len(pairs) - len(wrong)
        return "\n".join([f"told exactly: {right} of {len(self.turns)} turns; {len(found)} were told", *wrong])

    def ended(self, name: str) -> Json:
        """Wait for the end of a message's turn."""
        return wait_status(self.driven, name, "ended")

    def status(self, name: str) -> object:
        """Say what has become of a message."""
        return message_of(self.driven, name)["status"]


def told(lines: Iterable[Mapping[str, object]]) -> list[Turn]:
    """Read the turns out of a stream's lines."""
    turns: dict[object, Json] = {}
    for line in lines:
        turn = line.get("turn")
        match line["kind"]:
            case "started":
                turns[turn] = {"prompt": line["prompt"], "outcome": None, "input_tokens": 0, "output_tokens": 0}
            case "usage":
                for name in ("input_tokens", "output_tokens"):
                    turns[turn][name] = cast("int", turns[turn][name]) + cast("int", line[name])
            case "ended":
                assert turns[turn]["outcome"] is None, f"{turn} has ended twice"
                turns[turn] |= {"outcome": line["outcome"], "text": line["final_text"], "failure": line["failure"]}
            case _:
                pass
    return [Turn(**cast("dict[str, str]", turn)) for turn in turns.values()]  # type: ignore[arg-type]
