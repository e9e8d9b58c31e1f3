"""A conversation at the terminal: a line is a message, and its answer is printed as it comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from urllib.parse import quote

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import Invocation, Status
from agentd.cli.agentctl.gateway.client import Gateway, GatewayError, GatewayUnreachableError
from agentd.cli.agentctl.gateway.events import last_events
from agentd.cli.agentctl.gateway.input_lines import InputLines
from agentd.text.quoting import printable
from agentd.text.terminal import DIM, harmless

FIRST_MESSAGE = "Now let us work on working dir: {folder}"
"""What is said first where a folder is given."""

_EXIT = "/exit"
_ENDED = {"run.succeeded", "run.failed", "run.canceled", "run.timed_out"}
_DECISIONS = {"y": "allow", "yes": "allow", "n": "deny", "no": "deny", "a": "allow_always", "always": "allow_always"}
_ASKING = {"awaiting_input", "awaiting_parent"}
_AWAY = 60.0
"""Seconds that a gateway may be away in a turn."""
_AGAIN = 0.5
"""Seconds after which it is asked again."""
_LOOK_AFTER = 1.0
"""Seconds after which it is looked whether somebody else has answered."""


class _LeftError(Exception):
    """Whoever sits at the terminal leaves in a turn, which goes on."""


class Chat:
    """One session, at one terminal."""

    def __init__(self, gateway: Gateway, session: str, agent: str, invocation: Invocation) -> None:
        self._gateway = gateway
        self._session = session
        self._agent = agent
        self._invocation = invocation
        self._lines = InputLines()
        self._cursor, _ = last_events(gateway, session, 0)
        self._at_line_start = True

    def talk(self, folder: str | None) -> Status:
        """Take messages until the end of the input; the status is that of the last turn."""
        status = Status.DONE
        with suppress(_LeftError):
            if folder is not None:
                status = self._say(FIRST_MESSAGE.format(folder=folder))
            while (text := self._next()) is not None:
                if text.strip():
                    status = self._say(text)
        self._note(f"the conversation stays: agentctl connect --session {self._session}")
        return status

    def _next(self) -> str | None:
        try:
            if self._lines.terminal:
                print(f"{self._agent}> ", end="", flush=True)
            text = self._lines.take()
        except KeyboardInterrupt:
            print()
            self._note("C-c interrupts a turn; /exit leaves")
            return ""
        return None if text is None or text.strip() == _EXIT else text

    def _say(self, text: str) -> Status:
        """Send a message, and print what comes until its run has ended."""
        sent = self._gateway.post(f"/sessions/{quote(self._session)}/messages", {"text": text})
        run = sent.get("run")
        run_id = str(run["id"]) if isinstance(run, dict) else ""
        while True:
            try:
                return self._follow_on(run_id)
            except KeyboardInterrupt:
                self._interrupt(run_id)

    def _interrupt(self, run_id: str) -> None:
        """End the turn; what becomes of it is among the events."""
        try:
            self._note("interrupting it")
            self._gateway.post(f"/runs/{quote(run_id)}/cancel", {})
        except KeyboardInterrupt:
            # Pressed twice: the first has been sent, or the next one is.
            return
        except GatewayError as error:
            # It ended by itself, for example.
            self._note(str(error))

    def _follow_on(self, run_id: str) -> Status:
        """Print what comes, over restarts of the gateway: the next one tells how the turn ended.

        Raises
        ------
        GatewayUnreachableError
            If it does not come back within a minute.
        """
        until: float | None = None
        while True:
            before = self._cursor
            try:
                return self._follow(run_id)
            except GatewayUnreachableError as error:
                if until is None or self._cursor != before:
                    self._note(f"{error}; waiting for it")
                    until = time.monotonic() + _AWAY
                if time.monotonic() >= until:
                    raise
            time.sleep(_AGAIN)  # noqa: TID251 (nobody tells when a gateway that is not there comes back)

    def _follow(self, run_id: str) -> Status:
        with closing(self._gateway.events(self._session, self._cursor)) as events:  # type: ignore[type-var]  # a generator
            for event in events:
                at = event["cursor"]
                self._cursor = at if isinstance(at, int) else self._cursor
                data = event.get("data")
                if event.get("run_id") == run_id and self._show(
                    run_id, str(event.get("event_type")), data if isinstance(data, dict) else {}
                ):
                    return Status.DONE if event.get("event_type") == "run.succeeded" else Status.FAILED
        return Status.FAILED

    def _show(self, run_id: str, kind: str, data: Mapping[str, Json]) -> bool:
        """Print an event; whether it is the run's end."""
        if kind == "run.output":
            self._write(str(data.get("text") or ""))
        elif kind == "run.tool_started":
            self._note(f"[{printable(str(data.get('name') or 'tool'))}] {printable(str(data.get('text') or ''))}")
        elif kind == "run.awaiting_input":
            self._ask(run_id, data)
        elif kind in _ENDED:
            self._end_line()
            error = data.get("error")
            if kind != "run.succeeded":
                said = error.get("message") if isinstance(error, dict) else None
                self._note(f"the turn {kind.removeprefix('run.').replace('_', ' ')}{f': {said}' if said else ''}")
            return True
        return False

    def _ask(self, run_id: str, data: Mapping[str, Json]) -> None:
        """Ask whoever sits here what the agent asks; somebody else's answer may come first."""
        self._end_line()
        question = data.get("kind") == "question"
        request = str(data.get("request_id") or "")
        answer = self._answer(run_id, _question(data) if question else _permission(data), question=question)
        if answer is None:
            return
        given, decision = answer
        if decision is None:
            self._note(f"no answer to that: agentctl run answer {run_id} --request-id {request} --decision allow|deny")
            if self._lines.terminal:
                raise _LeftError
            # What a program wrote beforehand is its next message, and no answer.
            if given is not None:
                self._lines.put_back(given)
            return
        body = {"request_id": request, "decision": decision, "text": given if question else None}
        try:
            self._gateway.post(f"/runs/{quote(run_id)}/answer", body)
        except (GatewayError, GatewayUnreachableError) as error:
            self._note(str(error))

    def _answer(self, run_id: str, prompt: str, *, question: bool) -> tuple[str | None, str | None] | None:
        """Take the line that answers, and its decision, `None` for another line; `None` alone if somebody else has."""
        while True:
            self._prompt(prompt)
            given: str | None = ""
            while given is not None and not given.strip():
                if not self._wait_for_answer(run_id):
                    return None
                given = self._lines.take()
                if self._lines.terminal:
                    break
            if given is None or (self._lines.terminal and given.strip() == _EXIT):
                return given, None
            said = given.strip()
            decision = ("allow" if said else None) if question else _DECISIONS.get(said.lower())
            if decision is not None or not self._lines.terminal:
                return given, decision

    def _prompt(self, text: str) -> None:
        """Ask for a line; what a program reads on standard output are the answers alone."""
        if self._lines.terminal:
            print(text, end="", flush=True)
        else:
            self._note(text.strip())

    def _wait_for_answer(self, run_id: str) -> bool:
        """Wait until there is a line to take as the answer; false if somebody else has answered."""
        while not self._lines.wait(_LOOK_AFTER):
            try:
                run = self._gateway.get(f"/runs/{quote(run_id)}").get("run")
            except GatewayUnreachableError:
                continue
            if not isinstance(run, dict) or run.get("status") not in _ASKING:
                self._at_line_start = not self._lines.terminal
                self._note("somebody else has answered")
                return False
        return True

    def _write(self, text: str) -> None:
        shown = "\n".join(map(harmless, text.split("\n")))
        if shown:
            print(shown, end="", flush=True)
            self._at_line_start = shown.endswith("\n")

    def _end_line(self) -> None:
        if not self._at_line_start:
            print(flush=True)
            self._at_line_start = True

    def _note(self, text: str) -> None:
        self._end_line()
        print(harmless(self._invocation.display.paint(harmless(text), DIM)), file=sys.stderr, flush=True)


def _permission(data: Mapping[str, Json]) -> str:
    text = printable(str(data.get("text") or data.get("name") or ""))
    return f"allow {printable(str(data.get('name') or ''))}: {text}? [y/n/always] "


def _question(data: Mapping[str, Json]) -> str:
    choices = data.get("choices")
    offered = f" ({', '.join(map(str, choices))})" if isinstance(choices, list) and choices else ""
    return f"it asks: {printable(str(data.get('text') or data.get('name') or ''))}{printable(offered)}: "
