"""What is measured: every metric's name and meaning, and counting from the start, whether anybody asks or not.

The counters are our own, and `agentd.recording.metrics.exposition` writes them as text. Those of prometheus-client 0.26
take 1.3 µs an event instead of 0.2, 640 bytes a value instead of 100, and with 1000 agents 75 ms to be read instead of
0.1, which the event loop does at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agentd.model.events import Event, EventKind
from agentd.model.states import AgentState


class MetricType(StrEnum):
    """As Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""
    sparse: bool = False
    """Whether labels that are empty are not written."""


_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

BUILD = Metric("agentd_build_info", MetricType.GAUGE, "The running agentd; always 1.", ("version",))
CONFIG_VALID = Metric("agentd_config_valid", MetricType.GAUGE, "Whether the jcard as it is now can be used.")
RECONCILING = Metric(
    "agentd_reconciling",
    MetricType.GAUGE,
    "Whether the passes that bring the agents to what is declared come to their end; 0: see problem in /v1/health.",
)
AGENTS = Metric(
    "agentd_agents",
    MetricType.GAUGE,
    "Agents by state, and those that run once more by activity: a value has one label or the other.",
    ("state", "activity"),
    sparse=True,
)
AGENT_STATE = Metric(
    "agentd_agent_state", MetricType.GAUGE, "The state each agent is in; always 1.", ("agent", "state")
)
RESTARTS = Metric(
    "agentd_agent_restarts_total",
    MetricType.COUNTER,
    "Restarts by the agent's policy, since agentd started.",
    ("agent",),
)
EXITS = Metric(
    "agentd_agent_exits_total",
    MetricType.COUNTER,
    "Runs that ended, since agentd started, by exit status or by the signal that ended them.",
    ("agent", "code", "signal"),
)
CPU = Metric(
    "agentd_agent_cpu_seconds_total",
    MetricType.COUNTER,
    "CPU that the agent's whole process tree used, as far as it was seen at scrapes.",
    ("agent",),
)
MEMORY = Metric(
    "agentd_agent_memory_bytes",
    MetricType.GAUGE,
    "Resident memory of the agent's whole process tree; outside cgroups, shared pages count in each process.",
    ("agent",),
)
PROCESSES = Metric(
    "agentd_agent_processes",
    MetricType.GAUGE,
    "Processes of a running agent at the last look, at most a minute ago: its own, servers that it talks to by pipes, "
    "tools, and orphans, whose parents are gone.",
    ("agent", "kind"),
)
PROCESS_MEMORY = Metric(
    "agentd_agent_process_memory_bytes",
    MetricType.GAUGE,
    "Resident memory of these; shared pages count in each process.",
    ("agent", "kind"),
)
SCAN = Metric("agentd_usage_scan_seconds", MetricType.GAUGE, "CPU that the last look at all agents' processes took.")
LAUNCH = Metric(
    "agentd_launch_duration_seconds",
    MetricType.HISTOGRAM,
    "From the decision to launch until the agent's process runs.",
    bounds=_SLOW,
)
QUEUE = Metric(
    "agentd_queue_duration_seconds",
    MetricType.HISTOGRAM,
    "How long agents waited for a slot, of those that have one since.",
    bounds=_LONG,
)
RECONCILE = Metric("agentd_reconcile_duration_seconds", MetricType.HISTOGRAM, "One pass over all agents.", bounds=_FAST)
API = Metric(
    "agentd_api_request_duration_seconds",
    MetricType.HISTOGRAM,
    "From a request to its answer, without sending it; streams are not counted.",
    ("route",),
    _FAST,
)
CONNECTIONS = Metric("agentd_api_connections", MetricType.GAUGE, "Open connections to the API.")
STREAMS = Metric("agentd_api_streams", MetricType.GAUGE, "Clients that follow events or logs.")
EVENTS = Metric("agentd_events_total", MetricType.COUNTER, "Events since agentd started.", ("kind",))
RECORDING_OK = Metric("agentd_recording_ok", MetricType.GAUGE, "Whether what happens can be recorded.", ("part",))
RECORDING_BYTES = Metric("agentd_recording_bytes", MetricType.GAUGE, "What is kept on disk.", ("part",))
RECORDING_LOST = Metric(
    "agentd_recording_lost_total",
    MetricType.COUNTER,
    "Entries that could not be kept, since agentd started.",
    ("part",),
)

TELEMETRY = Metric(
    "agentd_telemetry_total",
    MetricType.COUNTER,
    "Spans, log records and readings of metrics for the collector of [otel], since that was declared last; `failed` "
    "did not arrive, `dropped` were too many to wait.",
    ("signal", "outcome"),
)

METRICS = (
    BUILD, CONFIG_VALID, RECONCILING, AGENTS, AGENT_STATE, RESTARTS, EXITS, CPU, MEMORY, PROCESSES,
    PROCESS_MEMORY, SCAN, LAUNCH, QUEUE, RECONCILE, API,
    CONNECTIONS, STREAMS, EVENTS, RECORDING_OK, RECORDING_BYTES, RECORDING_LOST, TELEMETRY,
)  # fmt: skip
"""In the order of /metrics, which also has prometheus-client's ``process_*`` of the daemon."""

Labels = tuple[str, ...]


class Histogram:
    """Counts values by size.

    Parameters
    ----------
    bounds
        Upper bounds, in order; what is larger than all is counted too.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def snapshot(self) -> Buckets:
        """What was counted so far."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return Buckets(tuple(buckets), self._sum)


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram."""

    cumulative: tuple[tuple[float, int], ...]
    """For each upper bound how many values are not larger."""
    sum: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its values."""

    metric: Metric
    values: Mapping[Labels, float] = field(default_factory=dict)
    histograms: Mapping[Labels, Buckets] = field(default_factory=dict)


class Counters:
    """Counts from what happens.

    Parameters
    ----------
    now
        Gives monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._events: Counter[Labels] = Counter()
        self._restarts: Counter[Labels] = Counter()
        self._exits: Counter[Labels] = Counter()
        self._launched: dict[str, float] = {}
        self._launches = Histogram(LAUNCH.bounds)
        self._queued = Histogram(QUEUE.bounds)
        self._passes = Histogram(RECONCILE.bounds)
        self._requests: dict[Labels, Histogram] = {}

    def take(self, event: Event) -> None:
        """Count an event."""
        self._events[(event.kind.value,)] += 1
        agent, data = event.agent, event.data
        if agent is None:
            return
        match event.kind:
            case EventKind.LAUNCHED:
                self._launched[agent] = self._now()
                if isinstance(waited := data.get("queued_seconds"), float):
                    self._queued.observe(waited)
                if data.get("was") == AgentState.BACKOFF:
                    self._restarts[(agent,)] += 1
            case EventKind.STARTED:
                begun = self._launched.pop(agent, None)
                if begun is not None:
                    self._launches.observe(self._now() - begun)
            case EventKind.LAUNCH_FAILED:
                self._launched.pop(agent, None)
            case EventKind.EXITED:
                self._exits[(agent, str(data.get("exit_code", "")), str(data.get("exit_signal", "")))] += 1
            case EventKind.REMOVED:
                self._forget(agent)
            case _:
                pass

    def _forget(self, agent: str) -> None:
        self._launched.pop(agent, None)
        self._restarts.pop((agent,), None)
        for labels in [labels for labels in self._exits if labels[0] == agent]:
            del self._exits[labels]

    def passed(self, seconds: float) -> None:
        """Count a pass of the reconciler that took so many `seconds`."""
        self._passes.observe(seconds)

    def answered(self, route: str, seconds: float) -> None:
        """Count a request, answered within so many `seconds`."""
        found = self._requests.get((route,))
        if found is None:
            found = self._requests[(route,)] = Histogram(API.bounds)
        found.observe(seconds)

    def snapshot(self, agents: Sequence[str]) -> list[Family]:
        """What was counted so far; an agent that was never restarted counts 0."""
        return [
            Family(RESTARTS, {(agent,): self._restarts[(agent,)] for agent in agents}),
            Family(EXITS, dict(self._exits)),
            Family(LAUNCH, histograms={(): self._launches.snapshot()}),
            Family(QUEUE, histograms={(): self._queued.snapshot()}),
            Family(RECONCILE, histograms={(): self._passes.snapshot()}),
            Family(API, histograms={labels: each.snapshot() for labels, each in self._requests.items()}),
            Family(EVENTS, {(kind.value,): self._events[(kind.value,)] for kind in EventKind}),
        ]
