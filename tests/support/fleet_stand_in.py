"""A stand-in for agentd-fleet's socket: canned answers for the fleet, and one agentd behind it for the rest."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

from agentd.fleet.protocol import (
    AGENTS_PATH,
    APPLY_PATH,
    DRAIN_PATH,
    FLEET_PATH,
    FORGET_PATH,
    HOSTS_PATH,
    PLAN_PATH,
    REBALANCE_PATH,
    UNCORDON_PATH,
    AssignmentView,
    FleetView,
    HostState,
    HostView,
    PlacedView,
    PlanView,
)

HOST = HostView(
    name="h1",
    state=HostState.READY,
    slots=50,
    cpus=16.0,
    memory=64 * 1024**3,
    gpus=0.0,
    labels={"zone": "a"},
    used_slots=2,
    used_cpus=1.5,
    used_memory=2 * 1024**3,
    used_gpus=0.0,
    agents=2,
    address="10.0.0.1",
    version="0.1.0",
    seen_at="2026-01-31T09:00:00Z",
    note=None,
)

FLEET = FleetView(
    controller="h1",
    version="0.1.0",
    started_at="2026-01-31T09:00:00Z",
    revision=3,
    jcard="jcard.toml",
    applied_at="2026-01-31T09:10:00Z",
    lease=20.0,
    hosts=2,
    hosts_ready=1,
    agents=3,
    agents_placed=2,
    agents_pending=1,
    warnings=["h2 is lost"],
)

PLAN = PlanView(
    assignments=[
        AssignmentView("a-0", "start", "h1", None, ""),
        AssignmentView("a-1", "move", "h1", "h2", "h2 is drained"),
        AssignmentView("a-2", "stay", "h1", "h1", ""),
        AssignmentView("a-3", "pending", None, None, "2 hosts: no room (slots)"),
        AssignmentView("a-4", "remove", None, "h1", "it is wished for no more"),
    ],
    warnings=["jcard.toml:1:1: a warning"],
    applied=False,
)


@dataclass
class FleetStandIn:
    """What the fleet answers, and what it was asked."""

    agentd: Path
    """The socket of the agentd that all agents are on."""
    answers: dict[tuple[str, str], tuple[int, object]] = field(default_factory=dict)
    """What else is answered, by method and path."""
    host: str = "h1"
    hosts: list[HostView] = field(default_factory=lambda: [HOST])
    fleet: FleetView = FLEET
    placed: list[PlacedView] = field(default_factory=list)
    plan: PlanView = PLAN
    refusal: tuple[int, str] | None = None
    """The status and the error of whatever is posted."""
    posted: list[tuple[str, object]] = field(default_factory=list)
    """Path and body of each request."""

    def answer(self, method: str, path: str, body: object) -> tuple[int, object] | None:
        """Answer about the fleet; ``None`` for what an agentd answers."""
        changes = (PLAN_PATH, APPLY_PATH, DRAIN_PATH, UNCORDON_PATH, FORGET_PATH, REBALANCE_PATH)
        if method == "POST" and path in changes:
            self.posted.append((path, body))
            if self.refusal is not None:
                return self.refusal[0], {"error": self.refusal[1]}
            return 200, asdict(self.plan)
        if (method, path) in self.answers:
            self.posted.append((path, body))
            return self.answers[method, path]
        shown: dict[str, object] = {
            FLEET_PATH: asdict(self.fleet),
            HOSTS_PATH: [asdict(host) for host in self.hosts],
            AGENTS_PATH: [asdict(each) for each in self.placed],
        }
        return (200, shown[path]) if method == "GET" and path in shown else None

    def names_hosts(self, path: str) -> bool:
        """Whether the answer names the host of each item."""
        return path.partition("?")[0] == "/v1/agents" or (path.startswith("/v1/events") and "follow" not in path)

    def with_host(self, body: bytes) -> bytes:
        """Add the host to agents and events."""
        return json.dumps([{**each, "host": self.host} for each in json.loads(body)]).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        stand_in = self.server.stand_in
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        known = stand_in.answer(self.command, self.path, json.loads(body) if body else None)
        if known is None:
            self._pass_on(stand_in, body)
            return
        status, document = known
        data = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _pass_on(self, stand_in: FleetStandIn, body: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as behind:
            behind.connect(str(stand_in.agentd))
            head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            behind.sendall(f"{self.command} {self.path} HTTP/1.0\r\n{head}\r\n".encode() + body)
            if stand_in.names_hosts(self.path):
                first, _, answer = b"".join(iter(lambda: behind.recv(65536), b"")).partition(b"\r\n\r\n")
                lines = [line for line in first.split(b"\r\n") if not line.lower().startswith(b"content-length")]
                self.wfile.write(b"\r\n".join(lines) + b"\r\n\r\n" + stand_in.with_host(answer))
                return
            while data := behind.recv(65536):
                self.wfile.write(data)
                self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as in the base class)
        pass


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, stand_in: FleetStandIn) -> None:
        self.stand_in = stand_in
        super().__init__(str(path), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is none."""


@contextmanager
def standing_in(stand_in: FleetStandIn, path: Path) -> Iterator[None]:
    """Serve it while the context is open."""
    server = _Server(path, stand_in)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        path.unlink(missing_ok=True)
