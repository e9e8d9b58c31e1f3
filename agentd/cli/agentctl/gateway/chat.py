"""A conversation at the terminal: a line is a message, and its answer is printed as it comes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import quote

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import Invocation, Status
from agentd.cli.agentctl.gateway.client import Gateway, GatewayError
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
_LOOK_AFTER = 1.0
"""Seconds after which it is looked whether somebody else has answered."""


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
                return self._follow(run_id)
            except KeyboardInterrupt:
                self._note("interrupting it")
                self._gateway.post(f"/runs/{quote(run_id)}/cancel", {})

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
        text = printable(str(data.get("text") or data.get("name") or ""))
        question = data.get("kind") == "question"
        request = str(data.get("request_id") or "")
        if question:
            choices = data.get("choices")
            offered = f" ({', '.join(map(str, choices))})" if isinstance(choices, list) and choices else ""
            self._prompt(f"it asks: {text}{printable(offered)}: ")
        else:
            self._prompt(f"allow {printable(str(data.get('name') or ''))}: {text}? [y/n/always] ")
        given: str | None = ""
        while given is not None and not given.strip():
            if not self._wait_for_answer(run_id):
                return
            given = self._lines.take()
            if self._lines.terminal:
                break
        decision = None
        if given is not None:
            decision = "allow" if question else _DECISIONS.get(given.strip().lower())
        if decision is None and not self._lines.terminal:
            # What a program wrote beforehand is its next message, and no answer.
            if given is not None:
                self._lines.put_back(given)
            self._note(f"no answer to that: agentctl run answer {run_id} --request-id {request} --decision allow|deny")
            return
        body = {"request_id": request, "decision": decision or "deny", "text": given if question else None}
        try:
            self._gateway.post(f"/runs/{quote(run_id)}/answer", body)
        except GatewayError as error:
            self._note(str(error))

    def _prompt(self, text: str) -> None:
        """Ask for a line; what a program reads on standard output are the answers alone."""
        if self._lines.terminal:
            print(text, end="", flush=True)
        else:
            self._note(text.strip())

    def _wait_for_answer(self, run_id: str) -> bool:
        """Wait until there is a line to take as the answer; false if somebody else has answered."""
        while not self._lines.wait(_LOOK_AFTER):
            run = self._gateway.get(f"/runs/{quote(run_id)}").get("run")
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
