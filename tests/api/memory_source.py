"""A source of status that holds plain values, and requests sent byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentd.model.plan_report import ObservedAgentView, PlannedOperation, PlanReport
from agentd.model.processes import AgentProcesses, CommandProcesses
from agentd.model.sandbox import SandboxStatus
from agentd.model.screen import NoScreenError, Screen
from agentd.model.status import (
    AgentCounts,
    AgentStatus,
    BoundStatus,
    BudgetStatus,
    ConfigFileStatus,
    ConfigStatus,
    Health,
    LimitsStatus,
    LimitStatus,
    Recording,
    RecordingHealth,
    SlowRead,
    WorktreeStatus,
)

RUNNING = AgentStatus(
    name="reviewer-0",
    running=True,
    session="reviewer-0",
    restarts=1,
    type="native",
    harness="claude-code",
    state="running",
    pid=51877,
    started_at="2026-01-31T09:00:03Z",
    uptime_seconds=120,
    exit_code=None,
    exit_signal=None,
    exit_reason=None,
    oom_kills=0,
    error=None,
    next_restart_at=None,
    deadline=None,
    workdir="/home/agent/workspace",
    limits=None,
    model="opus",
    command=None,
    worktree=None,
    sandbox=None,
    recording=None,
    pane="%7",
    pane_pid=51870,
    owner=None,
    source="/etc/stereos/jcard.toml",
    activity="waiting_permission",
    activity_since="2026-01-31T09:01:00Z",
    activity_source="hooks",
    activity_text="rm -r build",
    conversation="5c1b1de5-2624-42c5-802e-e19ebb88b858",
    usage_limit=None,
    stalled=None,
    budget=BudgetStatus(
        on_breach="pause",
        bounds=[
            BoundStatus("usd", 5.0, 1.25, "claude-code's status line", "2026-01-31T09:01:00Z", None),
            BoundStatus("day", 40.0, 7.5, "claude-code's status line", "2026-01-31T09:01:00Z", "2026-02-01T00:00:00Z"),
            BoundStatus("turns", 50.0, 12.0, "agentd", None, None),
        ],
        breached=False,
        reason=None,
    ),
    ports={"PORT": 20123},
    held_change=None,
    queued=None,
    next_start_at=None,
    priority=0,
)

SANDBOX = SandboxStatus(
    kind="bubblewrap",
    network="none",
    network_allow=["api.example.com:443"],
    read_only_paths=["/home/agent/.gitconfig"],
    writable_paths=["/srv/ü b", "/srv/cache"],
    repository="/srv/shop",
    home="/home/agent/.local/share/agentd/sandboxes/nightly",
    extra_packages=[],
    secrets=["TOKEN"],
    egress_secrets={"KEY": ["api.example.com:443"]},
)

BACKING_OFF = AgentStatus(
    name="Wächter_Ω.2",
    running=False,
    session="nightly",
    restarts=7,
    type="sandboxed",
    harness="custom",
    state="backoff",
    pid=None,
    started_at="2026-01-31T09:00:03Z",
    uptime_seconds=0,
    exit_code=None,
    exit_signal=9,
    exit_reason="oom",
    oom_kills=2,
    error='killed "hard" \\ by\na signal',
    next_restart_at="2026-01-31T09:05:03Z",
    deadline="2026-02-01T09:00:00Z",
    workdir="/srv/ü b",
    limits=LimitsStatus(
        LimitStatus(2 * 1024**3, 2 * 1024**3, "cgroup v2", None),
        None,
        LimitStatus(512, None, "cgroup v2", None),
        LimitStatus(1.5, None, None, "the controller cpu is not delegated to agentd"),
    ),
    model=None,
    command="./wächter",
    worktree=WorktreeStatus("/srv/ü b", "agentd/nightly", None, "/srv/shop"),
    sandbox=SANDBOX,
    recording="cannot write /var/lib/agentd: no space left on the disk; recording goes on by itself",
    pane="%12",
    pane_pid=51990,
    owner="ops",
    source="/etc/stereos/jcard.d/ops/wächter.toml",
    activity=None,
    activity_since=None,
    activity_source=None,
    activity_text=None,
    conversation=None,
    usage_limit=None,
    stalled=None,
    budget=None,
    ports={},
    held_change=None,
    queued=None,
    next_start_at=None,
    priority=0,
)

HEALTH = Health(
    state="running",
    uptime_seconds=123,
    version="0.1.0",
    pid=4242,
    config=ConfigStatus(
        path="/etc/stereos/jcard.toml",
        valid=True,
        error=None,
        warnings=(),
        loaded_at="2026-01-31T09:00:00Z",
        digest="0" * 64,
        files=(
            ConfigFileStatus("/etc/stereos/jcard.toml", True, None, (), 1, "2026-01-31T09:00:00Z", "0" * 64),
            ConfigFileStatus("/etc/stereos/jcard.d/ops/wächter.toml", False, "no", ("hm",), 2, None, None),
        ),
    ),
    agents=AgentCounts(total=3, running=2, failed=0),
    recording=Recording(RecordingHealth("off", None, 0, 0), RecordingHealth("ok", None, 4096, 2)),
    slow_reads=(SlowRead("/mnt/share", 12),),
    problem=None,
)

PLAN = PlanReport(
    operations=(
        PlannedOperation("restart", "reviewer-0", "the model changed", ("model",), None, None, None, ("working",)),
        PlannedOperation("start", "nightly", "enabled", (), None, SANDBOX, None, ()),
    ),
    resumes=[],
    starts=[],
    observed=(
        ObservedAgentView(
            "reviewer-0",
            "running",
            {"argv": "c0ffee"},
            {"restart": "no", "success_exit_codes": (0,)},
            None,
            None,
            ("working",),
            {"PORT": 20123},
        ),
        ObservedAgentView("nightly", "pending", None, None, "/etc/stereos/jcard.d/ops/wächter.toml", SANDBOX, (), {}),
    ),
    digest_key="k",
    agent_user="agent",
    home="/home/agent",
    default_workdir="/home/agent/workspace",
    data_dir="/home/agent/.local/share/agentd",
    secrets=("TOKEN",),
    secret_dir="/run/stereos/secrets",
    state_dir="/var/lib/agentd",
)


@dataclass
class MemorySource:
    """What a supervisor would know, set by the test."""

    statuses: list[AgentStatus] = field(default_factory=lambda: [RUNNING, BACKING_OFF])
    health_now: Health = HEALTH
    plan_now: PlanReport = PLAN

    def health(self) -> Health:
        return self.health_now

    def agents(self) -> Sequence[AgentStatus]:
        return tuple(sorted(self.statuses, key=lambda status: status.name))

    def agent(self, name: str) -> AgentStatus | None:
        return next((status for status in self.statuses if status.name.casefold() == name.casefold()), None)

    def plan(self) -> PlanReport:
        return self.plan_now

    async def processes(self, name: str) -> AgentProcesses | None:
        agent = self.agent(name)
        if agent is None:
            return None
        own = CommandProcesses("claude", "agent", 1, 4096, [11])
        return AgentProcesses(agent.name, 1, 4096, [own])

    async def screen(self, name: str, *, styled: bool) -> Screen | None:
        agent = self.agent(name)
        if agent is None:
            return None
        if not agent.running:
            raise NoScreenError(f"{agent.name} has no tmux session; it is {agent.state}")
        line = "\x1b[31mred\x1b[39m" if styled else "red"
        return Screen(agent.name, agent.session, 80, 24, 3, 0, cursor_visible=True, lines=["", line])


@dataclass(frozen=True)
class Answer:
    """One HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error, whose form is checked."""
        assert self.headers["content-type"] == "application/json"
        parsed = json.loads(self.body)
        assert list(parsed) == ["error"]
        assert isinstance(parsed["error"], str)
        assert parsed["error"]
        return parsed["error"]


async def send(socket_path: Path, request: bytes) -> Answer:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(request)
        raw = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(body))
    return Answer(int(status_line.split()[1]), headers, body)


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        yield rest[:length]
        body = rest[length + 2 :]


def request(method: str, target: str, *headers: str, body: str = "") -> bytes:
    """Spell a request after whose answer the server closes."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


async def ask(socket_path: Path, method: str, target: str, *headers: str, body: str = "") -> Answer:
    """Make one request on a connection of its own."""
    return await send(socket_path, request(method, target, *headers, body=body))


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and hang up at the end."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:  # the server was first: what the test wanted
            assert writer.is_closing()
