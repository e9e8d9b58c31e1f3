"""Workers of a provider that needs no key, from their declaration to their end."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.model.states import AgentState
from agentd.pool.checking import SpawnRequest
from agentd.pool.collecting import artifacts, collect
from agentd.pool.ending import terminate
from agentd.pool.errors import Code, PoolError
from agentd.pool.listing import workers
from agentd.pool.observing import observe
from agentd.pool.results.common import Exit, document
from agentd.pool.results.workers import Spawned
from agentd.pool.spawning import spawn
from agentd.pool.statistics import stats
from agentd.pool.talking import answer, send
from agentd.pool.telling import SUMMARY_BYTES
from agentd.pool.transcripts import transcript
from tests.pool.conftest import PROVIDER, World, git, jcard_of


def test_a_worker_answers_asks_and_goes_on_until_it_is_terminated(world: World) -> None:
    worker = world.spawn("hello there").id
    done = world.observe(worker)
    assert (done.event, done.answer, done.timed_out) == ("completed", "You said: hello there", False)
    assert done.next == f"agentctl collect {worker}"
    world.run(lambda pool: send(pool, worker, "now ASK-QUESTION"))
    asked = world.observe(worker, cursor=done.cursor)
    assert (asked.event, asked.asks, list(asked.choices)) == ("question", "Which colour?", ["Blue", "Red"])
    # It is still so: a wait without a cursor returns at once.
    assert world.observe(worker).event == "question"
    world.run(lambda pool: answer(pool, worker, "answer", "Blue"))
    after = world.observe(worker, WorkerEvent.COMPLETED, cursor=asked.cursor)
    assert after.answer == "You said: now ASK-QUESTION (Blue)"
    ended = world.run(lambda pool: terminate(pool, worker))
    assert (ended.was, ended.worktree_stays) == ("running", False)
    assert ended.exit is not None
    with pytest.raises(PoolError) as gone:
        world.observe(worker)
    assert gone.value.code is Code.NOT_FOUND
    assert world.run(workers).total == 0


@pytest.mark.thorough
def test_a_message_that_waits_is_work_so_an_old_end_is_not_told_again(world: World) -> None:
    worker = world.spawn("first").id
    world.observe(worker, WorkerEvent.COMPLETED)
    world.run(lambda pool: send(pool, worker, "second STUB-SLEEP:0.5"))
    assert world.observe(worker, WorkerEvent.COMPLETED).answer == "You said: second STUB-SLEEP:0.5"


@pytest.mark.thorough
def test_of_several_workers_the_first_event_is_told_and_no_other_is_lost(world: World) -> None:
    gate = world.daemon.folder / "gate"
    first, second = world.spawn("one").id, world.spawn(f"two STUB-UNTIL:{gate}").id
    told = world.run(lambda pool: observe(pool, [second, first], patience=60))
    assert (told.worker, told.event) == (first, "completed")
    gate.touch()
    told = world.run(lambda pool: observe(pool, [second, first], patience=60, cursor=told.cursor))
    assert (told.worker, told.event) == (second, "completed")
    over = world.run(lambda pool: observe(pool, [second, first], patience=0, cursor=told.cursor))
    assert (over.timed_out, over.event, over.cursor) == (True, None, told.cursor)


def test_the_exit_is_exact_and_the_output_readable_after_the_end(world: World) -> None:
    failed = world.spawn("STUB-EXIT:7").id
    seen = world.observe(failed, WorkerEvent.EXITED)
    assert seen.state == AgentState.FAILED
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.signal) == (7, None)
    assert world.observe(failed).event == "error"
    killed = world.spawn("echo exception: all is well; kill -9 $$", provider="shell").id
    seen = world.observe(killed, WorkerEvent.EXITED)
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.signal) == (None, 9)
    page = world.run(lambda pool: transcript(pool, killed))
    assert "exception: all is well" in page.lines
    with pytest.raises(PoolError) as refused:
        world.run(lambda pool: send(pool, killed, "more"))
    assert refused.value.code is Code.NOT_RUNNING


@pytest.mark.thorough
def test_a_word_on_the_screen_is_no_failure(world: World) -> None:
    worker = world.spawn("say exception and FAILED and error:").id
    assert world.observe(worker).event == "completed"


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        pytest.param("other", "error", marks=pytest.mark.thorough),
        pytest.param("auth_error", "error", marks=pytest.mark.thorough),
        ("usage_limit", "usage_limit"),
    ],
)
def test_a_failed_turn_is_told_by_its_kind(world: World, failure: str, event: str) -> None:
    worker = world.spawn(f"STUB-FAIL:{failure}").id
    assert world.observe(worker).event == event


def test_the_patch_has_commits_staged_unstaged_untracked_and_binary(world: World, tmp_path: Path) -> None:
    script = (
        "echo two >>a.txt; git add a.txt; git -c user.name=w -c user.email=w@w commit -qm two; echo staged >s.txt; "
        "git add s.txt; echo three >>a.txt; echo new >'un tracked.txt'; head -c 3000 /dev/urandom >b.bin; exit 0"
    )
    worker = world.spawn(script, provider="shell").id
    assert world.observe(worker, WorkerEvent.EXITED, WorkerEvent.COMPLETED).event == "completed"
    done = world.run(lambda pool: collect(pool, worker, tmp_path / "out"))
    assert done.base == git(world.repo, "rev-parse", "HEAD")
    assert sorted(file.path for file in done.files) == ["a.txt", "b.bin", "s.txt", "un tracked.txt"]
    assert [commit.subject for commit in done.commits] == ["two"]
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", world.repo, clone], check=True)
    git(clone, "checkout", "--quiet", done.base)
    assert done.patch is not None
    git(clone, "apply", "--index", done.patch)
    assert (clone / "a.txt").read_text() == "one\ntwo\nthree\n"
    worktree = Path(world.run(lambda pool: terminate(pool, worker, dry_run=True)).worktree or "")
    assert (clone / "b.bin").read_bytes() == (worktree / "b.bin").read_bytes()
    page = world.run(lambda pool: artifacts(pool, worker, limit=1))
    assert (page.total, page.next_offset, page.has_more) == (4, 1, True)
    # What was not merged stays, also once nobody declares the worker.
    assert world.run(lambda pool: terminate(pool, worker)).worktree_stays is True
    assert (worktree / "b.bin").exists()
    again = world.run(lambda pool: collect(pool, worker, tmp_path / "again"))
    assert again.patch_bytes == done.patch_bytes
    assert again.exit == Exit(0, None, None)


@pytest.mark.thorough
def test_what_was_changed_beside_the_allowed_paths_is_told(world: World, tmp_path: Path) -> None:
    (world.repo / "src").mkdir()
    request = SpawnRequest(
        "shell",
        "mkdir -p src; echo x >src/x; echo y >a.txt",
        str(world.repo),
        WorkerIsolation.WORKTREE,
        allowed_paths=("src",),
    )
    worker = world.run(lambda pool: spawn(pool, request)).id
    world.observe(worker, WorkerEvent.EXITED)
    assert world.run(lambda pool: collect(pool, worker, tmp_path / "out")).outside_allowed_paths == ["a.txt"]


@pytest.mark.thorough
def test_twenty_spawns_at_once_with_a_limit_of_four_give_four(world: World) -> None:
    world.daemon.write_jcard(jcard_of("max_workers = 4"))

    def one(number: int) -> Spawned | PoolError:
        try:
            return world.spawn(f"task {number}", WorkerIsolation.NONE)
        except PoolError as error:
            return error

    with ThreadPoolExecutor(20) as crowd:
        found = list(crowd.map(one, range(20)))
    refused = [each for each in found if isinstance(each, PoolError)]
    assert len(found) - len(refused) == 4
    assert {(each.code, each.details["policy"]) for each in refused} == {(Code.POLICY, "max_workers")}
    listed = world.run(workers)
    assert [each.state for each in listed.workers] == ["running"] * 4
    world.run(lambda pool: terminate(pool, listed.workers[0].id))
    world.spawn("there is room again", WorkerIsolation.NONE)


@pytest.mark.thorough
def test_a_worker_ends_in_time_although_nobody_looks(world: World) -> None:
    world.daemon.write_jcard(jcard_of('max_runtime = "1s"'))
    worker = world.spawn("STUB-SLEEP:60", WorkerIsolation.NONE).id
    world.daemon.wait_state(worker, "timed_out")
    seen = world.observe(worker)
    assert seen.event == "error"
    assert seen.exit is not None
    assert seen.exit.reason == "timed_out"


@pytest.mark.thorough
def test_a_drop_in_by_hand_does_not_go_around_the_policies(world: World) -> None:
    daemon = world.daemon
    daemon.write_jcard(jcard_of('denied_providers = ["codex"]\nmax_workers = 1\nmax_runtime = "1h"'))
    agent = '[agent]\nname = "{}"\nharness = "custom"\ncommand = ["sleep", "600"]\n'
    (daemon.bin / "codex").write_text("#!/bin/sh\nsleep 600\n")
    (daemon.bin / "codex").chmod(0o755)
    daemon.write_drop_in(
        "workers/w1.toml", '[worker]\nprovider = "stand-in"\n[agent]\nname = "w1"\nharness = "codex"\n'
    )
    daemon.write_drop_in("workers/w2.toml", '[agent]\nname = "w2"\nharness = "codex"\n')
    daemon.write_drop_in("workers/w3.toml", agent.format("w3"))
    for name in ("w1", "w2", "w3"):
        error = daemon.wait_state(name, "failed")["error"]
        assert error is not None
        assert "refused by the policy denied_providers of [pool]" in error
    worker = world.spawn("at work", WorkerIsolation.NONE).id
    assert daemon.agents()[worker]["deadline"] is not None
    shell = agent.format("w4").replace('"sleep", "600"', '"/bin/sh", "-c", "sleep 600"')
    provider = '[worker]\nprovider = "shell"\n' + shell
    daemon.write_drop_in("workers/w4.toml", provider)
    error = daemon.wait_state("w4", "failed")["error"]
    assert error is not None
    assert "refused by the policy max_workers of [pool]: 1 worker is at work, and 1 may be" in error
    world.run(lambda pool: terminate(pool, worker))
    assert daemon.wait_state("w4", "running")["deadline"] is not None


@pytest.mark.thorough
def test_a_summary_is_short_whatever_was_said(world: World) -> None:
    worker = world.spawn("\N{SNOWMAN} and a long story " * 80).id
    seen = world.observe(worker)
    assert seen.answer_cut
    assert len(json.dumps(document(seen), separators=(",", ":"))) <= SUMMARY_BYTES
    assert (seen.answer or "").startswith("You said: \N{SNOWMAN}")


@pytest.mark.thorough
def test_what_workers_did_is_summed_up(world: World) -> None:
    worker = world.spawn("count me").id
    world.observe(worker)
    world.daemon.wait_for(
        lambda: world.run(partial(stats, by="agent")).rows[0].output_tokens is not None, what="its usage is told"
    )
    found = world.run(lambda pool: stats(pool, by="provider"))
    (row,) = found.rows
    assert (row.key, row.workers, row.runs, row.limits_hit, row.cost_usd) == (PROVIDER, 1, 1, 0, None)
    assert row.input_tokens == len("count me")
    assert row.worker_seconds > 0
