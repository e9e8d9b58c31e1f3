"""Which workers may be launched: the policies, as functions of frozen values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.model.events import Detail, EventKind
from agentd.model.pool import (
    OWNER,
    USAGE_STALE_AFTER,
    Block,
    PoolDeclaration,
    PoolProvider,
    WorkerFacts,
    WorkerIsolation,
)
from agentd.model.spec import AgentSpec, AgentType, Checkout
from agentd.supervise.accounts import Accounts
from agentd.supervise.worker_policies import (
    Account,
    Quota,
    bounded,
    by_account,
    by_count,
    isolation_of,
    refusal,
)

NOW = 1_000_000.0
WORKER = AgentSpec("w", "codex", "w", Path("/w"), owner=OWNER)


def takes_command(harness: str) -> bool:
    return harness == "custom"


def refused(spec: AgentSpec, pool: PoolDeclaration) -> str | None:
    found = refusal(spec, pool, takes_command)
    return None if found is None else found.policy


@pytest.mark.parametrize(
    ("pool", "policy"),
    [
        (PoolDeclaration(), None),
        (PoolDeclaration(allowed_providers=("codex",)), None),
        (PoolDeclaration(allowed_providers=("gemini-cli",)), "allowed_providers"),
        (PoolDeclaration(denied_providers=("codex",)), "denied_providers"),
        (PoolDeclaration(allowed_providers=("codex",), denied_providers=("codex",)), "denied_providers"),
        (PoolDeclaration(require_isolation=(WorkerIsolation.WORKTREE,)), "require_isolation"),
    ],
)
def test_a_worker_is_judged_by_its_provider_and_isolation(pool: PoolDeclaration, policy: str | None) -> None:
    assert refused(WORKER, pool) == policy


def test_what_a_file_says_of_its_provider_must_be_so() -> None:
    pool = PoolDeclaration(denied_providers=("codex",), providers=(PoolProvider("mine", "custom", ("mine", "run")),))
    said = replace(WORKER, worker=WorkerFacts("claude-code"))
    assert refused(said, pool) == "denied_providers"
    own = replace(WORKER, harness="custom", command=("mine", "run", "x"), worker=WorkerFacts("mine"))
    assert refused(own, pool) is None
    assert refused(replace(own, command=("codex",)), pool) == "denied_providers"
    assert refused(replace(own, worker=None), pool) == "denied_providers"


def test_isolation_is_how_it_is_run() -> None:
    checkout = Checkout(Path("/r"), Path("/w"), None, None)
    claimed = replace(WORKER, worker=WorkerFacts("codex", isolation=WorkerIsolation.SANDBOXED))
    assert isolation_of(claimed) is WorkerIsolation.NONE
    assert isolation_of(replace(WORKER, checkout=checkout)) is WorkerIsolation.WORKTREE
    boxed = replace(WORKER, type=AgentType.SANDBOXED)
    assert isolation_of(boxed) is WorkerIsolation.SANDBOXED
    assert isolation_of(replace(boxed, checkout=checkout)) is WorkerIsolation.READ_ONLY


def test_a_life_is_bounded_by_max_runtime() -> None:
    pool = PoolDeclaration(max_runtime=60)
    assert bounded(WORKER, pool).policy.timeout == 60
    short = replace(WORKER, policy=replace(WORKER.policy, timeout=10))
    assert bounded(short, pool) is short
    assert bounded(WORKER, PoolDeclaration()) is WORKER


def test_when_a_refusal_passes_is_said_also_where_no_reset_was_told() -> None:
    pool = PoolDeclaration()
    for used, name in ((95.0, "min_remaining_percent"), (100.0, "block_on")):
        account = Account((Quota("weekly", used, None, NOW),))
        refusal = by_account(account, pool, NOW)
        assert refusal is not None
        assert str(refusal).startswith(f"refused by the policy {name} of [pool]")
        assert "(when it resets was not told: it counts for usage_stale_after); it would pass from" in str(refusal)
        assert refusal.until is not None
        assert by_account(account, pool, refusal.until) is not None
        assert by_account(account, pool, refusal.until + 1) is None


def test_a_full_pool_says_so() -> None:
    pool = PoolDeclaration(max_workers=2)
    assert by_count(1, pool) is None
    assert "2 workers are at work, and 2 may be" in str(by_count(2, pool))


@pytest.mark.parametrize(
    ("account", "policy", "until"),
    [
        (Account(), None, None),
        (Account((Quota("weekly", 89, NOW + 9, NOW - 9999),)), None, None),
        (Account((Quota("weekly", 95, NOW + 9, NOW - 9999),)), "min_remaining_percent", NOW + 9),
        (Account((Quota("weekly", 95, NOW - 1, NOW - 9999),)), None, None),
        (Account((Quota("weekly", 95, None, NOW - 60),)), "min_remaining_percent", NOW - 60 + USAGE_STALE_AFTER),
        (Account((Quota("5h", 100, None, NOW - 60),)), "block_on", NOW - 60 + USAGE_STALE_AFTER),
        (Account((Quota("5h", 100, None, NOW),), at_limit=True), "block_on", None),
        (Account((Quota("weekly", 95, None, NOW - 9999),)), None, None),
        (Account((Quota("5h", 100, NOW + 5, NOW),)), "block_on", NOW + 5),
        (Account(at_limit=True, limit_resets_at=NOW + 7), "block_on", NOW + 7),
        (Account(at_limit=True), "block_on", None),
        (Account(at_limit=True, limit_resets_at=NOW - 7), None, None),
    ],
)
def test_an_account_is_judged_by_what_is_known(account: Account, policy: str | None, until: float | None) -> None:
    found = by_account(account, PoolDeclaration(), NOW)
    assert (None if found is None else found.policy, None if found is None else found.until) == (policy, until)


@pytest.mark.parametrize(
    ("block", "account"),
    [
        (Block.AUTH_ERROR, Account(logged_out=True)),
        (Block.USAGE_UNKNOWN, Account()),
        (Block.USAGE_STALE, Account((Quota("weekly", 5, NOW + 9999, NOW - 9999),))),
    ],
)
def test_what_blocks_is_chosen(block: Block, account: Account) -> None:
    assert by_account(account, PoolDeclaration(block_on=()), NOW) is None
    found = by_account(account, PoolDeclaration(block_on=(block,)), NOW)
    assert found is not None
    assert found.why.startswith(block)


def test_accounts_are_those_of_providers_also_once_their_agents_are_gone() -> None:
    accounts = Accounts()
    accounts.take(EventKind.DECLARED, "W", {"provider": "work"}, NOW)
    told: dict[str, Detail] = {
        "window": "five_hour",
        "used_percent": 91.5,
        "window_seconds": 18000.0,
        "resets_at": "2026-01-31T09:00:00Z",
    }
    accounts.take(EventKind.TURN_QUOTA, "w", told, NOW)
    accounts.take(EventKind.TURN_QUOTA, "stranger", told, NOW)
    accounts.take(EventKind.ACTIVITY, "w", {"activity": "usage_limit"}, NOW)
    account = accounts.account("work")
    assert [(each.name, each.used_percent) for each in account.quotas] == [("five_hour", 91.5)]
    assert account.at_limit
    accounts.take(EventKind.REMOVED, "w", {}, NOW)
    assert not accounts.account("work").at_limit
    assert accounts.account("work").quotas == account.quotas
