"""What the tools answer about providers: `agentd.pool.results`, as short as a model needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.mcp.tool import Result

if TYPE_CHECKING:
    from typing import Self

    from agentd.pool.results.providers import Inventory, ProviderUsage, UsageReport


class WindowResult(Result):
    """A quota."""

    name: str
    kind: str
    used_percent: float | None = None
    remaining_percent: float | None = None
    reset_at: str | None = None
    source: str
    confidence: str
    age_seconds: float | None = None


class TokensResult(Result):
    """Tokens and their cost."""

    input: int | None = None
    output: int | None = None
    cost_usd: float | None = None
    source: str | None = None
    confidence: str
    age_seconds: float | None = None


class AccountResult(Result):
    """An account."""

    provider: str
    usable: bool
    unusable_reason: str | None = None
    next_available_at: str | None = None
    windows: tuple[WindowResult, ...] = ()
    tokens: TokensResult

    @classmethod
    def of(cls, found: ProviderUsage) -> Self:
        """Shorten it."""
        tokens = TokensResult(
            input=found.tokens.input,
            output=found.tokens.output,
            cost_usd=found.cost.usd,
            source=found.tokens.source,
            confidence=found.tokens.confidence,
            age_seconds=found.tokens.age_seconds,
        )
        return cls(
            provider=found.provider,
            usable=found.usable,
            unusable_reason=found.unusable_reason,
            next_available_at=found.next_available_at,
            windows=tuple(WindowResult.model_validate(each, from_attributes=True) for each in found.windows),
            tokens=tokens,
        )


class UsageResult(Result):
    """Accounts."""

    providers: tuple[AccountResult, ...]

    @classmethod
    def of(cls, found: UsageReport) -> Self:
        """Shorten it."""
        return cls(providers=tuple(AccountResult.of(each) for each in found.providers))


class ProviderResult(Result):
    """A provider."""

    id: str
    harness: str
    installed: bool
    allowed: bool
    logged_in: bool | None = None
    version: str | None = None
    models: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    note: str | None = None
    usage: AccountResult | None = None


class PoliciesResult(Result):
    """Policies."""

    max_workers: int
    workers: int
    require_isolation: tuple[str, ...] | None = None
    min_remaining_percent: float
    max_runtime_seconds: float | None = None


class InventoryResult(Result):
    """Providers and policies."""

    providers: tuple[ProviderResult, ...]
    policies: PoliciesResult
    preferences: str | None = None

    @classmethod
    def of(cls, found: Inventory) -> Self:
        """Shorten it."""
        providers = tuple(
            ProviderResult(
                id=each.id,
                harness=each.harness,
                installed=each.installed,
                allowed=each.allowed,
                logged_in=each.auth.present,
                version=each.version,
                models=tuple(model.id for model in each.models),
                capabilities=tuple(each.capabilities),
                note=each.note,
                usage=None if each.usage is None else AccountResult.of(each.usage),
            )
            for each in found.providers
        )
        policies = PoliciesResult.model_validate(found.policies, from_attributes=True)
        return cls(providers=providers, policies=policies, preferences=found.preferences)
