"""The [pool] table of a jcard, and the [worker] table of a drop-in."""

from __future__ import annotations

import pytest

from agentd.model.pool import Block, PoolDeclaration, PoolProvider, WorkerIsolation
from tests.jcard.loading import load


def test_a_whole_table_is_taken() -> None:
    result = load(
        """
[pool]
allowed_providers = ["codex", "mine"]
denied_providers = ["opencode"]
max_workers = 4
require_isolation = ["worktree", "sandboxed"]
min_remaining_percent = 20
usage_stale_after = "30m"
block_on = ["limit_reached", "auth_error"]
max_runtime = "2h"
allow_keys = true

[[pool.providers]]
id = "mine"
harness = "codex"
args = ["--search"]
model = "m"
env = { LEVEL = "3" }
secrets = ["KEY"]
"""
    )
    assert not result.problems
    assert result.pool == PoolDeclaration(
        ("codex", "mine"),
        ("opencode",),
        4,
        (WorkerIsolation.WORKTREE, WorkerIsolation.SANDBOXED),
        20,
        1800,
        (Block.LIMIT_REACHED, Block.AUTH_ERROR),
        7200,
        allow_keys=True,
        providers=(PoolProvider("mine", "codex", (), ("--search",), "m", {"LEVEL": "3"}, ("KEY",)),),
    )
    assert load("").pool is None
    assert load("[pool]").pool == PoolDeclaration()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool = 1", "found an integer, expected a table"),
        ("[pool]\nmax_workers = -1", "pool.max_workers"),
        ("[pool]\nrequire_isolation = 3", "expected true, false, or a list"),
        ("[pool]\nrequire_isolation = ['jail']", "expected true, false, or a list"),
        ("[pool]\nblock_on = ['rain']", "limit_reached"),
        ("[pool]\nmax_runtime = 30", "which has no unit"),
        ("[pool]\nmin_remaining_percent = 101", "pool.min_remaining_percent"),
        ("[[pool.providers]]\nid = 'x'\nharness = 'nope'", "nope"),
        ("[[pool.providers]]\nid = 'x'\nharness = 'codex'\ncommand = ['y']", "its own command line"),
        ("[[pool.providers]]\nid = 'x'\nharness = 'codex'\n[[pool.providers]]\nid = 'x'\nharness = 'codex'", "twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    result = load(text)
    assert result.pool is None
    assert any(message in str(problem) for problem in result.errors), result.errors


def test_a_misspelt_key_is_a_warning() -> None:
    (warning,) = load("[pool]\nmax_worker = 3").warnings
    assert "did you mean" in str(warning)
