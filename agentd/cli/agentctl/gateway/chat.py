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
from agentd.text.quoting import printable
from agentd.text.terminal import DIM, harmless

FIRST_MESSAGE = "Now let us work on working dir: {folder}"
"""What is said first where a folder is given."""

_EXIT = "/exit"
_ENDED = {"run.succeeded", "run.failed", "run.canceled", "run.timed_out"}
_DECISIONS = {"y": "allow", "yes": "allow", "n": "deny", "no": "deny", "a": "allow_always", "always": "allow_always"}


class Chat:
    """One session, at one terminal."""

    def __init__(self, gateway: Gateway, session: str, agent: str, invocation: Invocation) -> None:
        self._gateway = gateway
        self._session = session
        self._agent = agent
        self._invocation = invocation
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
            text = input(f"{self._agent}> " if sys.stdin.isatty() else "")
        except EOFError:
            return None
        except KeyboardInterrupt:
            print()
            self._note("C-c interrupts a turn; /exit leaves")
            return ""
        return None if text.strip() == _EXIT else text

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
        if not sys.stdin.isatty():
            self._note(f"it asks: {text}: agentctl run answer {run_id} --request-id {request} --decision allow|deny")
            return
        decision, said = "allow", None
        try:
            if question:
                choices = data.get("choices")
                offered = f" ({', '.join(map(str, choices))})" if isinstance(choices, list) and choices else ""
                said = input(f"it asks: {text}{printable(offered)}: ")
            else:
                given = input(f"allow {printable(str(data.get('name') or ''))}: {text}? [y/n/always] ").strip().lower()
                decision = _DECISIONS.get(given, "deny")
        except EOFError:
            decision = "deny"
        try:
            body = {"request_id": request, "decision": decision, "text": said}
            self._gateway.post(f"/runs/{quote(run_id)}/answer", body)
        except GatewayError as error:
            self._note(str(error))

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
