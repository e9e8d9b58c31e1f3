"""A model server for the tests: on loopback, standard library only, answering what the prompt tells it to.

The answer is ``STUB-REPLY: `` and the user's last text. A line of that text may steer the turn:

``STUB-TEXT:text``
    answer exactly this text;
``STUB-SAY:"text"``
    answer exactly this text, a JSON string;
``STUB-SLEEP:seconds``
    wait so long before the answer, or until the client hangs up;
``STUB-LINGER:seconds``
    wait so long between the answer's text and its end, with Codex;
``STUB-BASH:command``
    first ask for a shell command by the CLI's own tool, then answer;
``STUB-TOOL:name arguments``
    first ask for this tool of the CLI's, its arguments as JSON, then answer; of an MCP server's it is ``*name``, and if
    the CLI offers none of that name, the answer says so;
``STUB-RESULT:``
    answer with what the tool gave, once one was called;
``STUB-STATUS:code``
    refuse with this HTTP status;
``STUB-ONCE:code``
    refuse the first request with this text by this HTTP status, then answer;
``STUB-LIMIT:seconds``
    refuse by a usage limit that resets so long after the first request with this text, then answer;
``STUB-QUOTA:percent seconds``
    say by headers how much of the account's quota is used, and that it resets so long from now.

Run by itself (``python -m tests.harness.stub_model``) it prints its address and logs each request to stderr.
"""

from __future__ import annotations

import json
import math
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final, cast

from tests.harness.stub_dialects import (
    AnthropicMessages,
    ChatCompletions,
    Dialect,
    Gemini,
    Json,
    JsonValue,
    OpenAIResponses,
    Reply,
    ShellCall,
    Turn,
    mapping,
)
from tests.harness.stub_limits import quota, refusal

REPLY: Final = "STUB-REPLY: "
RESULT: Final = "TOOL-RESULT: "
UNKNOWN_TOOL: Final = "NO-SUCH-TOOL: "

ENDPOINTS: Final[tuple[tuple[str, str, Dialect], ...]] = (
    (r"/v1/messages", "anthropic", AnthropicMessages()),
    (r"/v1/responses", "responses", OpenAIResponses()),
    (r"/v1/chat/completions", "chat", ChatCompletions()),
    (r"/v1beta/models/[^/]+:(stream)?[gG]enerateContent", "gemini", Gemini()),
)
"""Path, name and dialect of each API."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it came."""

    method: str
    path: str
    api: str | None = None
    """``anthropic``, ``responses``, ``chat`` or ``gemini``; ``None`` for anything else."""
    texts: tuple[str, ...] = ()
    """Every text in the user's messages, untouched."""
    prompt: str = ""
    result: str = ""
    """What the tools that were called last gave."""
    key: str = ""
    """The API key it carried."""
    at: float = field(default_factory=time.time)
    """When it came, in seconds since the epoch."""


def marked(marker: str, prompt: str) -> str | None:
    """Find what follows a marker, to the end of its line."""
    found = re.search(rf"STUB-{marker}:([^\n]+)", prompt)
    return found[1].strip() if found else None


def reply_to(turn: Turn) -> Reply:
    """Decide the answer by the markers in the prompt."""
    tool = marked("TOOL", turn.prompt)
    if tool is not None and not turn.tool_answered:
        name, _, arguments = tool.partition(" ")
        found = turn.tool_named(name)
        if found is None:
            return UNKNOWN_TOOL + name
        return ShellCall(found, mapping(cast(JsonValue, json.loads(arguments))))
    if "STUB-RESULT:" in turn.prompt:
        return RESULT + turn.result
    command = marked("BASH", turn.prompt)
    if command is not None and not turn.tool_answered:
        call = turn.shell_call(command)
        if call is not None:
            return call
    exact = marked("SAY", turn.prompt)
    if exact is not None:
        # A request for a title has only the beginning of the text.
        with suppress(ValueError):
            return str(json.loads(exact))
    return marked("TEXT", turn.prompt) or REPLY + turn.prompt


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Some CLIs look whether the server is there."""
        self._log(LoggedRequest("HEAD", self.path))
        self._send({})

    def do_GET(self) -> None:
        """Some CLIs list the models."""
        self._log(LoggedRequest("GET", self.path))
        models: list[JsonValue] = [{"id": "stub-model", "object": "model"}]
        self._send({"object": "list", "data": models, "models": []})

    def do_POST(self) -> None:
        """Answer a turn; requests beside it, such as counting tokens, get an empty object."""
        body = self._body()
        path = self.path.partition("?")[0]
        for pattern, api, dialect in ENDPOINTS:
            if re.fullmatch(pattern, path):
                self._turn(api, dialect, body)
                break
        else:
            self._log(LoggedRequest("POST", self.path))
            self._send({})

    def _turn(self, api: str, dialect: Dialect, body: Json) -> None:
        turn = dialect.read(body)
        self._log(LoggedRequest("POST", self.path, api, turn.texts, turn.prompt, turn.result, self._key()))
        pause = marked("SLEEP", turn.prompt)
        if pause is not None and self._client_left_within(float(pause.split()[0])):
            self.close_connection = True
            return
        refused = marked("STATUS", turn.prompt) or self._refused_once(turn.prompt)
        if refused is not None:
            error: Json = {"type": "error", "error": {"type": "stub_error", "message": f"stub error {refused}"}}
            self._send(error, int(refused[:3]))
            return
        if self._limited(api, turn.prompt):
            return
        reply = reply_to(turn)
        if body.get("stream") is not True and ":stream" not in self.path:
            self._send(dialect.document(reply), headers=self._quota(api, turn.prompt))
            return
        self._start("text/event-stream", close=True, headers=self._quota(api, turn.prompt))
        lingers = marked("LINGER", turn.prompt)
        for event, data in dialect.events(reply):
            kind = f"event: {event}\n" if event else ""
            text = data if isinstance(data, str) else json.dumps(data)
            self.wfile.write(f"{kind}data: {text}\n\n".encode())
            if lingers is not None and event == "response.output_text.delta":
                self.wfile.flush()
                time.sleep(float(lingers.split()[0]))  # noqa: TID251 (for nothing)

    def _refused_once(self, prompt: str) -> str | None:
        assert isinstance(self.server, Server)
        code = marked("ONCE", prompt)
        if code is None or prompt in self.server.refused:
            return None
        self.server.refused.add(prompt)
        return code

    def _limited(self, api: str, prompt: str) -> bool:
        seconds = marked("LIMIT", prompt)
        if seconds is None:
            return False
        assert isinstance(self.server, Server)
        resets_at = self.server.limits.setdefault(prompt, math.ceil(time.time() + float(seconds.split()[0])))
        left = math.ceil(resets_at - time.time())
        if left > 0:
            refused = refusal(api, resets_at, left)
            self._send(refused.body, 429, refused.headers)
        return left > 0

    @staticmethod
    def _quota(api: str, prompt: str) -> Mapping[str, str]:
        said = marked("QUOTA", prompt)
        if said is None:
            return {}
        used, seconds = said.split()[:2]
        return quota(api, float(used), math.ceil(time.time() + float(seconds)))

    def _client_left_within(self, seconds: float) -> bool:
        """Wait; while it waits for an answer, all that can come from the client is the end of the connection."""
        return bool(select.select([self.connection], [], [], seconds)[0])

    def _key(self) -> str:
        for header in ("x-api-key", "x-goog-api-key"):
            if header in self.headers:
                return self.headers[header]
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def _body(self) -> Json:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        return mapping(cast(JsonValue, json.loads(raw or b"{}")))

    def _send(self, document: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(document).encode()
        self._start("application/json", length=len(data), status=status, headers=headers)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _start(
        self,
        content_type: str,
        *,
        length: int | None = None,
        close: bool = False,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", content_type)
        if length is not None:
            self.send_header("content-length", str(length))
        if close:
            self.send_header("connection", "close")
        self.end_headers()

    def _log(self, request: LoggedRequest) -> None:
        assert isinstance(self.server, Server)
        self.server.record(request)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Say nothing: the log of requests says more."""


class Server(ThreadingHTTPServer):
    """Listens on a free port of loopback."""

    daemon_threads = True
    # A CLI may keep its connection open; nobody waits for it.
    block_on_close = False

    def __init__(self, record: Callable[[LoggedRequest], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.record = record
        self.limits: dict[str, int] = {}
        """When the limit resets that a text asked for."""
        self.refused: set[str] = set()
        """The texts that asked to be refused once, and were."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was stopped hangs up in the middle of an answer; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class StubModel:
    """A running server."""

    url: str
    requests: list[LoggedRequest]
    """What came so far, in order."""

    @property
    def turns(self) -> list[LoggedRequest]:
        """The requests for an answer of the model."""
        return [request for request in self.requests if request.api is not None]


@contextmanager
def stub_model() -> Iterator[StubModel]:
    """Run a server in a thread of this process."""
    requests: list[LoggedRequest] = []
    server = Server(requests.append)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="stub model")
    thread.start()
    try:
        yield StubModel(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve until interrupted."""

    def record(request: LoggedRequest) -> None:
        sys.stderr.write(f"{request}\n")

    server = Server(record)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
