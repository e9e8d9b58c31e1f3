"""What operations on workers answer, as frozen values; the field names are the JSON's.

A pydantic ``TypeAdapter`` makes a JSON Schema of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from agentd.model.json_schema import Count, JsonSchema, Positive, State, Time
from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.model.states import Activity

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Isolation = Annotated[str, JsonSchema({"enum": [*WorkerIsolation]})]
Event = Annotated[str, JsonSchema({"enum": [*WorkerEvent]})]
Doing = Annotated[str, JsonSchema({"enum": [*Activity]})]
Confidence = Annotated[str, JsonSchema({"enum": ["exact", "observed", "declared", "unknown"]})]
"""exact: the program itself says so; observed: seen in its records; declared: somebody wrote it down."""


def document(result: DataclassInstance) -> dict[str, object]:
    """Give a result as a JSON object."""
    return asdict(result)


@dataclass(frozen=True, slots=True)
class Auth:
    """Whether a provider's program can log in; never with what."""

    present: bool
    """Whether credentials were found."""
    source: str | None
    """Where: the variable, secret or file; null if none was found."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a provider."""

    id: str
    """As --model takes it."""
    source: str
    """Who says that there is it."""
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class ProviderModels:
    """The models of one provider."""

    provider: str
    models: Sequence[Model]
    note: str | None
    """Why there are none, or what is not known."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models of the providers."""

    providers: Sequence[ProviderModels]


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """How much of one quota of a provider's account is used."""

    name: str
    kind: Annotated[
        str, JsonSchema({"enum": ["5h", "daily", "weekly", "monthly", "session", "model", "credits", "unknown"]})
    ]
    used_percent: float | None
    remaining_percent: float | None
    reset_at: Time | None
    source: str
    """The witness that tells."""
    confidence: Confidence
    age_seconds: Count | None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What a provider's agents used, of all turns among the events that are kept."""

    input: Count | None
    output: Count | None
    cache_read: Count | None
    cache_write: Count | None
    source: str | None
    confidence: Confidence
    age_seconds: Count | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What that cost, as the provider's program says; never computed."""

    usd: float | None
    source: str | None
    confidence: Confidence
    age_seconds: Count | None


@dataclass(frozen=True, slots=True)
class ProviderUsage:
    """What is known of a provider's account; null is not known."""

    provider: str
    usable: bool
    """Whether a worker may be spawned now, as far as its account is concerned."""
    unusable_reason: str | None
    windows: Sequence[UsageWindow]
    tokens: TokenCounts
    cost: Cost
    next_available_at: Time | None
    """When it is usable again, where that is known."""
    stale: bool
    """Whether what is known of its quota is older than usage_stale_after, or nothing is."""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The accounts of the providers."""

    providers: Sequence[ProviderUsage]


@dataclass(frozen=True, slots=True)
class Provider:
    """A harness with its settings."""

    id: str
    """As --provider takes it."""
    harness: str
    installed: bool
    binary: str | None
    """Path of its program; null if it was not found."""
    version: str | None
    """As the program says; null if it does not."""
    auth: Auth
    models: Sequence[Model]
    capabilities: Sequence[str]
    """What its workers can do: stay, resume, model, reasoning_effort, max_turns, permissions, usage, quota."""
    allowed: bool
    """Whether policies let it be spawned."""
    note: str | None
    """Why not, or what is missing."""
    usage: ProviderUsage | None
    """Only if asked for."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What the jcard's [pool] says."""

    max_workers: Count
    workers: Count
    """Workers that count now."""
    require_isolation: Sequence[Isolation] | None
    min_remaining_percent: float
    max_runtime_seconds: float | None
    allow_keys: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """The providers, and the policies for workers."""

    providers: Sequence[Provider]
    policies: Policies
    preferences: str | None
    """What preferences.md beside the jcard says, for whoever decides."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's program ended, exactly."""

    code: Count | None
    signal: Positive | None
    reason: str | None
    """oom, timed_out, or why it could not be launched."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker, in short."""

    id: str
    provider: str
    state: State
    activity: Doing | None
    role: str | None
    parent: str | None
    isolation: Isolation
    repo: str | None
    workdir: str | None
    spawned_at: Time | None
    deadline: Time | None
    exit: Exit | None
    """Of the run that has ended; null while it runs."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker that was declared."""

    id: str
    state: State
    provider: str
    isolation: Isolation
    repo: str
    attach: str
    """The command that opens its terminal."""
    session: str
    """Its tmux session."""
    drop_in: str
    """The file that declares it."""
    cursor: str
    """For observe: what happens from its launch on."""
    warnings: Sequence[str]
    next: str
    """The command to run next."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What happened first to one of several workers, or nothing yet."""

    event: Event | None
    """Null if the time was over."""
    worker: str | None
    """Whose event it is; of one worker, that one in any case."""
    state: State | None
    activity: Doing | None
    exit: Exit | None
    answer: str | None
    """What it said last, cut off where answer_cut is true."""
    answer_cut: bool
    asks: str | None
    """What it asks, or wants to be allowed."""
    request: str | None
    """Id of that."""
    choices: Sequence[str]
    error: str | None
    """What went wrong."""
    output: Sequence[str] | None
    """The last lines that it printed; only with the details excerpt and full."""
    cursor: str
    """For the next observe: what happens after this."""
    timed_out: bool
    next: str
    """The command to run next."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to a worker."""

    worker: str
    message: str
    """Its id."""
    status: str
    """queued, delivering, delivered, started or ended."""
    next: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What a worker asked was decided."""

    worker: str
    decision: Annotated[str, JsonSchema({"enum": ["allow", "deny", "answer"]})]
    waiting: Count
    """Requests that still wait."""
    next: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A worker's turn was interrupted."""

    worker: str
    next: str


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """A file that differs from the base."""

    path: str
    status: str
    """git's letter: A, M, D or T."""
    added: Count | None
    """Lines; null for a binary file."""
    removed: Count | None


@dataclass(frozen=True, slots=True)
class CollectedCommit:
    """A commit of a worker."""

    id: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A worker's work in a folder."""

    worker: str
    folder: str
    summary: str
    """What was changed, in a few lines."""
    answer: str | None
    """What it said last."""
    base: str | None
    """Commit that the patch applies to; null where there is no git repository."""
    head: str | None
    patch: str | None
    """Path of the patch: commits, staged, unstaged and untracked changes as one."""
    patch_bytes: Count
    files: Sequence[ChangedPath]
    commits: Sequence[CollectedCommit]
    outside_allowed_paths: Sequence[str]
    """What it changed although it was not to."""
    not_written: Sequence[str]
    transcript: str | None
    """Path of the end of its output."""
    manifest: str
    state: State | None
    exit: Exit | None
    next: str


@dataclass(frozen=True, slots=True)
class TranscriptPage:
    """A part of what a worker printed."""

    worker: str
    lines: Sequence[str]
    offset: Count
    """Number of the first line, from 0."""
    next_offset: Count
    total: Count
    """Lines there are so far."""
    has_more: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a worker made or changed."""

    path: str
    status: str
    bytes: Count | None
    """Null for one that it deleted."""


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """A part of the files that a worker made or changed."""

    worker: str
    artifacts: Sequence[Artifact]
    offset: Count
    next_offset: Count
    total: Count
    has_more: bool


@dataclass(frozen=True, slots=True)
class Termination:
    """A worker that is ended, and declared no more."""

    worker: str
    was: State | None
    """Its state before."""
    exit: Exit | None
    drop_in: str
    """The file that was removed, or would be."""
    worktree: str | None
    """Its worktree."""
    worktree_stays: bool | None
    """Whether that stays: there is work in it."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class WorkerList:
    """Workers, the newest first."""

    workers: Sequence[Worker]
    total: Count
    """How many there are, also those that are left out."""


@dataclass(frozen=True, slots=True)
class StatsRow:
    """What the workers of one provider, role or name did."""

    key: str
    workers: Count
    runs: Count
    limits_hit: Count
    """How often one hit the limit of its account."""
    wall_clock_seconds: float
    """From the start of the first run to the end of the last."""
    worker_seconds: float
    """Of all runs together."""
    input_tokens: Count | None
    output_tokens: Count | None
    cache_read_tokens: Count | None
    cache_write_tokens: Count | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """What workers did, from the journal."""

    since: Time | None
    until: Time
    by: str
    rows: Sequence[StatsRow]
    total: StatsRow
    notes: Sequence[str]
    """What is missing in these numbers, and why."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody works on a path."""

    id: str
    path: str
    """Relative to the repository."""
    repo: str
    mode: Annotated[str, JsonSchema({"enum": ["read", "write"]})]
    owner: str
    acquired_at: Time
    expires_at: Time | None


@dataclass(frozen=True, slots=True)
class LeaseList:
    """The leases of a repository, or of all."""

    leases: Sequence[Lease]


@dataclass(frozen=True, slots=True)
class Released:
    """Leases that were given up."""

    released: Sequence[Lease]


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """A round trip with one harness."""

    provider: str
    passed: bool
    skipped: bool
    """Whether it is not installed."""
    seconds: float
    answer: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """A round trip with each harness."""

    passed: bool
    results: Sequence[SmokeResult]
