"""What is told of providers, their accounts and their models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from agentd.model.json_schema import Count, JsonSchema, Time
from agentd.pool.results.common import Confidence, Isolation


@dataclass(frozen=True, slots=True)
class Auth:
    """Whether a provider's program can log in; never with what."""

    present: bool | None
    """Whether credentials were found; null where it is not known what they would be."""
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
    """What is known of a provider's account; null means unknown."""

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
class SmokeResult:
    """A round trip with one harness."""

    provider: str
    passed: bool
    skipped: bool
    """Whether it was not tried: it is not installed, or a policy forbids it."""
    seconds: float
    answer: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """A round trip with each harness."""

    passed: bool
    results: Sequence[SmokeResult]
