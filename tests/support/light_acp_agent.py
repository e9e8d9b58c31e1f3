"""A scripted agent that speaks the Agent Client Protocol in a few lines: it starts in a tenth of `acp_agent`'s time.

It takes the same orders, one a line of a message; see there.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, cast
from uuid import uuid4

Json = dict[str, object]

OPTIONS = [
    {"optionId": "always", "name": "Allow for this session", "kind": "allow_always"},
    {"optionId": "once", "name": "Allow", "kind": "allow_once"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
]


class RefusedError(Exception):
    """The answer is an error, of this code and message."""


class Scripted:
    """The agent; a turn reads on where it has to wait."""

    def __init__(self, sessions: Path | None) -> None:
        self.sessions = sessions
        self.session = ""
        self.asked = 0
        self.cost = 0.0
        self.cancelled = False
        self.end: Json = {}

    def serve(self) -> NoReturn:
        while True:
            heard = self.hear()
            if "method" not in heard or "id" not in heard:
                continue
            try:
                answer = {"result": self.answer(str(heard["method"]), cast("Json", heard["params"]))}
            except RefusedError as error:
                code, message = error.args
                answer = {"error": {"code": code, "message": message}}
            self.send({"id": heard["id"], **answer})

    def hear(self) -> Json:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        heard = cast("Json", json.loads(line))
        self.cancelled |= heard.get("method") == "session/cancel"
        return heard

    def send(self, message: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

    def ask_client(self, method: str, params: Json) -> Json:
        """Ask; gives the whole answer."""
        self.asked += 1
        self.send({"id": self.asked, "method": method, "params": {"sessionId": self.session, **params}})
        while "method" in (heard := self.hear()) or heard.get("id") != self.asked:
            pass
        return heard

    def answer(self, method: str, params: Json) -> Json:
        match method:
            case "initialize":
                return {"protocolVersion": 1, "agentCapabilities": {"loadSession": self.sessions is not None}}
            case "session/new":
                self.session = uuid4().hex
                return {"sessionId": self.session}
            case "session/load":
                return self.load(str(params["sessionId"]))
            case "session/prompt":
                return self.take_turn("".join(part["text"] for part in cast("list[dict[str, str]]", params["prompt"])))
            case _:
                raise RefusedError(-32601, f"no {method}")

    def load(self, session: str) -> Json:
        if self.sessions is None or not (self.sessions / session).exists():
            raise RefusedError(-32002, f"no session {session}")
        self.session = session
        for line in (self.sessions / session).read_text().splitlines():
            self.tell("user_message_chunk", content={"type": "text", "text": line})
            self.do_say(f"past {line}\n")
        return {}

    def take_turn(self, text: str) -> Json:
        self.cancelled, self.end = False, {"stopReason": "end_turn"}
        for order in filter(None, text.split("\n")):
            verb, _, rest = order.partition(" ")
            if not hasattr(self, f"do_{verb}"):
                raise RefusedError(-32603, f"no order {verb}")
            getattr(self, f"do_{verb}")(rest)
            if self.cancelled:
                return {"stopReason": "cancelled"}
        if self.sessions is not None:
            with (self.sessions / self.session).open("a") as file:
                file.write(text.replace("\n", " ") + "\n")
        return self.end

    def tell(self, kind: str, /, **update: object) -> None:
        params = {"sessionId": self.session, "update": {"sessionUpdate": kind, **update}}
        self.send({"method": "session/update", "params": params})

    def say(self, text: str, kind: str = "agent_message_chunk") -> None:
        self.tell(kind, content={"type": "text", "text": text})

    def do_say(self, text: str) -> None:
        for word in text.replace(" ", "\0 ").split("\0"):
            self.say(word)

    def do_literal(self, text: str) -> None:
        self.say(ast.literal_eval(text))

    def do_think(self, text: str) -> None:
        self.say(text, "agent_thought_chunk")

    def do_tool(self, title: str, *, asks: bool = False) -> None:
        call = {"toolCallId": uuid4().hex, "title": title, "kind": "execute", "status": "pending"}
        self.tell("tool_call", rawInput={"command": title}, **call)
        ok = True
        if asks:
            given = self.ask_client("session/request_permission", {"toolCall": call, "options": OPTIONS})
            outcome = cast("dict[str, dict[str, str]]", given["result"])["outcome"]
            chosen = outcome.get("optionId", "cancelled")
            self.say(f"[{chosen}]")
            ok = chosen in ("once", "always")
        self.tell("tool_call_update", toolCallId=call["toolCallId"], status="completed" if ok else "failed")

    def do_ask(self, title: str) -> None:
        self.do_tool(title, asks=True)

    def do_read(self, path: str) -> None:
        given = self.ask_client("fs/read_text_file", {"path": path})
        self.say(str(cast("Json", given["error"])["code"]))

    def do_sleep(self, _: str) -> None:
        while not self.cancelled:
            self.hear()

    def do_usage(self, _: str) -> None:
        self.cost += 0.25
        self.tell("usage_update", used=1, size=2, cost={"amount": self.cost, "currency": "USD"})
        self.end["usage"] = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, "cachedReadTokens": 2}

    def do_fail(self, rest: str) -> None:
        code, _, message = rest.partition(" ")
        raise RefusedError(int(code), message)

    def do_stop(self, reason: str) -> None:
        self.end["stopReason"] = reason

    def do_print(self, data: str) -> None:
        sys.stdout.buffer.write(ast.literal_eval(data))
        sys.stdout.flush()

    def do_complain(self, data: str) -> None:
        sys.stderr.buffer.write(ast.literal_eval(data))
        sys.stderr.flush()

    def do_die(self, _: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Scripted(Path(sys.argv[2]) if sys.argv[1:2] == ["--sessions"] else None).serve()
