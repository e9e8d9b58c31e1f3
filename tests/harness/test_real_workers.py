"""The real agents as workers: a task, what it asks, another message, the patch."""

from __future__ import annotations

import json
import shlex

from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.scenes import CHOICES, QUESTION, command, question
from tests.harness.stub_model import StubModel
from tests.pool.conftest import git

pytestmark = REAL

LABEL = str(CHOICES[0]["label"])

ASKS_QUESTIONS = ("claude-code", "opencode")
"""Codex asks them in its mode for plans alone, and Gemini CLI takes the answer at its terminal alone."""


def asked_to(driven: DrivenCli, line: str) -> dict[str, object]:
    """Type a command, and give the document that it prints."""
    found: object = json.loads(output_of(driven, *shlex.split(line), "--json"))
    assert isinstance(found, dict)
    return found


def provider_of(driven: DrivenCli) -> str:
    """Write the CLI as a provider of workers."""
    cli = driven.cli
    args = {"codex": ("-a", "on-request"), "gemini-cli": ()}.get(cli.harness, cli.unasked)
    env = ", ".join(f"{name} = {json.dumps(value)}" for name, value in driven.env.items())
    model = "" if cli.model is None else f'model = "{cli.model}"'
    named = ["[[pool.providers]]", 'id = "real"', f'harness = "{cli.harness}"']
    return "\n".join([*named, f"args = {json.dumps(args)}", model, f"env = {{ {env} }}", ""])


def test_a_worker_asks_goes_on_and_is_collected(driven: DrivenCli, model: StubModel) -> None:
    repo = driven.daemon.folder / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "one")
    driven.daemon.write_jcard(provider_of(driven))
    harness, writes = driven.cli.harness, command(driven.cli.harness, "echo made >new.txt")
    questions = harness in ASKS_QUESTIONS
    task = question(harness) if questions else writes
    spawn = f"spawn --provider real --repo {repo} --isolation worktree --max-runtime 1h --task {shlex.quote(task)}"
    worker = str(asked_to(driven, spawn)["id"])
    wait = f"observe {worker} --timeout {DEADLINE:g}s"

    seen = asked_to(driven, f"{wait} --for question,approval,error,exited")
    assert seen["event"] == ("question" if questions else "approval"), f"{seen}\n{driven.daemon.screen(worker)}"
    assert not questions or QUESTION in str(seen["asks"])
    asked_to(driven, f"answer {worker} {shlex.quote(LABEL) if questions else 'allow'}")
    seen = asked_to(driven, f"{wait} --for completed,error,exited --cursor {seen['cursor']}")
    assert seen["event"] == "completed", f"{seen}\n{driven.daemon.screen(worker)}"
    if questions:
        assert any(LABEL in turn.result for turn in model.turns)
        asked_to(driven, f"send {worker} {shlex.quote(writes)}")
        seen = asked_to(driven, f"{wait} --for completed,error,exited --cursor {seen['cursor']}")
        assert seen["event"] == "completed", f"{seen}\n{driven.daemon.screen(worker)}"

    work = asked_to(driven, f"collect {worker} --output {driven.daemon.folder / 'work'}")
    assert work["answer"] == seen["answer"]
    git(repo, "apply", "--index", str(work["patch"]))
    assert (repo / "new.txt").read_text() == "made\n"
    assert work["base"] == git(repo, "rev-parse", "HEAD")
    assert asked_to(driven, f"terminate {worker}")["worktree_stays"] is True
    assert driven.daemon.agent(worker) is None
