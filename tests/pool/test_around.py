"""What is refused and why, leases, and what is known of providers."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.model.pool import WorkerIsolation
from agentd.pool.accounts import usage
from agentd.pool.checking import SpawnRequest
from agentd.pool.ending import terminate
from agentd.pool.errors import Code, PoolError
from agentd.pool.inventory import inventory, models
from agentd.pool.leasing import acquire_lease, list_leases, release_lease
from agentd.pool.results.common import document, size_of
from agentd.pool.results.leases import Lease
from agentd.pool.smoking import smoke
from agentd.pool.spawning import spawn
from agentd.supervise.run_watcher import DeclaredAgent
from agentd.turns.peers import is_worker_of
from tests.pool.conftest import PROVIDER, World, jcard_of

REFUSED = [
    (SpawnRequest("auto", "x", "."), Code.INVALID_ARGUMENT),
    (SpawnRequest("stand-inn", "x", "."), Code.PROVIDER_UNKNOWN),
    (SpawnRequest("opencode", "x", "."), Code.PROVIDER_UNAVAILABLE),
    (SpawnRequest(PROVIDER, "x", "/no/such/repo"), Code.INVALID_ARGUMENT),
    (SpawnRequest(PROVIDER, " ", "."), Code.INVALID_ARGUMENT),
    (SpawnRequest(PROVIDER, "x", ".", model="m"), Code.NOT_SUPPORTED),
    (SpawnRequest(PROVIDER, "x", ".", max_turns=3), Code.NOT_SUPPORTED),
    (SpawnRequest(PROVIDER, "x", ".", allowed_paths=("../..",)), Code.INVALID_ARGUMENT),
    (SpawnRequest(PROVIDER, "x", "/", WorkerIsolation.WORKTREE), Code.INVALID_ARGUMENT),
]


def test_what_cannot_be_is_refused_and_nothing_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.repo)
    for request, code in REFUSED:
        with pytest.raises(PoolError) as refused:
            world.run(functools.partial(spawn, request=request))
        assert refused.value.code is code, request
        assert str(refused.value.details["example"]).startswith("agentctl "), request
        assert not list(world.daemon.drop_ins.glob("workers/*.toml")), request


def test_a_policy_says_which_it_is(world: World) -> None:
    world.daemon.write_jcard(jcard_of("require_isolation = true"))
    with pytest.raises(PoolError) as refused:
        world.spawn("x", WorkerIsolation.NONE)
    assert refused.value.json() == {
        "error": {
            "code": "policy",
            "message": str(refused.value),
            "details": {
                "policy": "require_isolation",
                "until": None,
                "example": "agentctl spawn --provider ID --repo DIR --task TEXT --isolation worktree",
            },
        }
    }


def test_broken_policies_let_nobody_in(world: World) -> None:
    world.daemon.jcard.write_text("[pool]\nmax_workers = 'many'\n")
    with pytest.raises(PoolError, match="its policies are not known"):
        world.spawn("x")


def test_a_lease_is_of_the_real_path_and_has_one_winner(world: World) -> None:
    (world.repo / "src").mkdir()
    (world.repo / "link").symlink_to("src")
    names = ("src", "./src/", "link", "src/../src", str(world.repo / "link"), "a/../link/.", "src/new.py", ".")

    def take(number: int) -> Lease | PoolError:
        try:
            return world.run(
                lambda pool: acquire_lease(
                    pool, names[number % len(names)], "write", repo=str(world.repo), owner=f"o{number}"
                )
            )
        except PoolError as error:
            return error

    with ThreadPoolExecutor(8) as crowd:
        found = list(crowd.map(take, range(8)))
    winners = [each for each in found if isinstance(each, Lease)]
    assert len(winners) == 1
    assert {each.code for each in found if isinstance(each, PoolError)} == {Code.CONFLICT}
    (held,) = world.run(list_leases).leases
    assert held == winners[0]
    path, repo = str(world.repo / held.path), str(world.repo)
    world.run(lambda pool: release_lease(pool, path, repo=repo, owner=held.owner))
    for owner in ("r1", "r2"):
        world.run(lambda pool, owner=owner: acquire_lease(pool, "src", "read", repo=repo, owner=owner))  # type: ignore[misc]
    with pytest.raises(PoolError) as refused:
        world.run(lambda pool: acquire_lease(pool, "../../x", "read", repo=repo, owner="r3"))
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.thorough
def test_a_lease_ends_with_its_owner(world: World) -> None:
    worker, repo = world.spawn("hold it").id, str(world.repo)
    held = world.run(lambda pool: acquire_lease(pool, "a.txt", "write", repo=repo), AGENTD_AGENT=worker)
    assert (held.owner, held.expires_at) == (worker, None)
    with pytest.raises(PoolError):
        world.run(lambda pool: acquire_lease(pool, "a.txt", "read", repo=repo, owner="me"))
    world.run(lambda pool: terminate(pool, worker))
    assert world.run(list_leases).leases == []


def test_an_inventory_is_short_and_has_no_value_of_a_secret(world: World) -> None:
    world.daemon.write_secret("ANTHROPIC_API_KEY", "sk-ant-very-secret")
    prefer = "Prefer stand-in for small tasks. "
    (world.daemon.folder / "preferences.md").write_text(prefer + "\N{SNOWMAN}" * 1900)
    program = world.daemon.bin / "claude"
    program.write_text("#!/bin/sh\nprintf '9.9.9 (Claude Code)%05000d' 0\n")
    program.chmod(0o755)
    world.daemon.wait_for(lambda: world.run(inventory).providers[0].auth.present, what="agentd has read the secret")
    found = world.run(lambda pool: inventory(pool, usage=True))
    text = json.dumps(document(found), indent=2)
    assert "very-secret" not in text
    claude = found.providers[0]
    assert (claude.id, claude.installed) == ("claude-code", True)
    assert (claude.version or "").startswith("9.9.9 (Claude Code)000")
    assert claude.auth.source == "ANTHROPIC_API_KEY is set"
    assert (found.preferences or "").startswith(prefer + "\N{SNOWMAN}")
    # 8 KB for five; here are more.
    assert size_of(found) <= 8192 * (len(found.providers) + 1) / 6
    assert all(len(each.note or "") <= 200 for each in found.providers)
    listed = world.run(lambda pool: models(pool, "claude-code")).providers[0]
    assert {each.confidence for each in listed.models} == {"declared"}
    (account,) = world.run(lambda pool: usage(pool, PROVIDER)).providers
    assert (account.usable, account.windows, account.tokens.confidence, account.cost.usd) == (True, [], "unknown", None)


SERVER = """#!/bin/sh
[ "$1" = app-server ] || exit 1
exec 3<&0
while read -r line <&3; do
  case $line in
  *'"initialize"'*) echo '{"id":1,"result":{}}' ;;
  *model/list*) echo '{"id":2,"result":{"data":[{"id":"m1"},{"id":"m0","hidden":true}]}}' ;;
  esac
done & # the program is started by another one, which it outlives
wait
"""


def test_models_are_asked_of_the_program_which_is_ended_with_all_that_it_started(world: World) -> None:
    program = world.daemon.bin / "codex"
    program.write_text(SERVER)
    program.chmod(0o755)
    (found,) = world.run(lambda pool: models(pool, "codex")).providers
    assert found.note is None
    assert [(each.id, each.confidence) for each in found.models] == [("m1", "exact")]


def test_a_round_trip_works_without_a_key_and_without_any_harness(world: World) -> None:
    world.daemon.write_jcard("[pool]\n")
    report = world.run(lambda pool: smoke(pool, None, 60.0))
    assert report.passed, report
    first, *others = report.results
    assert (first.provider, first.passed, first.answer) == ("stand-in", True, "ready")
    assert all(each.skipped for each in others), report
    assert not list(Path(world.daemon.drop_ins).glob("workers/*.toml"))
    # What could not be tried has not passed.
    world.daemon.write_jcard("[pool]\nallowed_providers = ['opencode']\n")
    report = world.run(smoke)
    assert not report.passed
    assert all(each.skipped for each in report.results), report
    assert "allowed_providers" in str(report.results[0].error)


def test_an_agent_may_talk_to_its_workers_and_theirs_only() -> None:
    declared = {
        name: DeclaredAgent(name, "custom", None, by)
        for name, by in (("boss", None), ("w1", "boss"), ("w2", "w1"), ("self", "self"), ("other", None))
    }
    assert is_worker_of("Boss", "w1", declared)
    assert is_worker_of("boss", "W2", declared)
    assert is_worker_of("w1", "w2", declared)
    for agent, name in (("w1", "boss"), ("w2", "w1"), ("other", "w1"), ("self", "self"), ("boss", "boss")):
        assert not is_worker_of(agent, name, declared)
