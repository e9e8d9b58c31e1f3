"""The real agents as hosts of ``agentctl mcp``, each told of it by exactly what ``agentctl mcp-config`` prints."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.clis import NEWER_CLAUDE
from tests.harness.conftest import installed
from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.real_clis import REAL_CLIS, RealCli, write_json
from tests.harness.stub_model import RESULT, UNKNOWN_TOOL
from tests.pool.conftest import PROVIDER, git, jcard_of
from tests.support.waiting import wait_for

pytestmark = REAL

ANSWER = DEADLINE / 2
"""Seconds; within the limit of `output_of`, so that agentctl says itself that none came."""


def versions() -> list[RealCli]:
    """Give the pinned CLIs, Claude Code in both versions."""
    claude = next(cli for cli in REAL_CLIS if cli.harness == NEWER_CLAUDE.harness)
    return [*REAL_CLIS, replace(claude, package=NEWER_CLAUDE)]


@pytest.fixture(params=[installed(cli, f"{cli.harness}-{cli.package.version}") for cli in versions()])
def cli(request: pytest.FixtureRequest) -> RealCli:
    assert isinstance(request.param, RealCli)
    return request.param


def tell(driven: DrivenCli) -> None:
    """Give the host what is printed for it, where it looks for it."""
    daemon, harness = driven.daemon, driven.cli.harness
    printed = output_of(driven, "mcp-config", "--client", harness, "--absolute-command")
    match harness:
        case "claude-code":
            (daemon.workdir / ".mcp.json").write_text(printed)
            # A person would say yes to the project's servers.
            settings = {"skipDangerousModePermissionPrompt": True, "enableAllProjectMcpServers": True}
            write_json(daemon.home / ".claude/settings.json", settings)
        case "codex":
            config = Path(driven.env["CODEX_HOME"]) / "config.toml"
            config.write_text(config.read_text() + printed)
            assert tomllib.loads(config.read_text())["mcp_servers"]["agentd"]["required"] is True
        case "gemini-cli":
            (daemon.workdir / ".gemini").mkdir()
            (daemon.workdir / ".gemini/settings.json").write_text(printed)
        case _:
            (daemon.workdir / "opencode.json").write_text(printed)


def declare(driven: DrivenCli, **fields: object) -> None:
    """Write the jcard: the host, and a provider that needs no key."""
    # Claude Code waits 30 s for a server, which a busy machine may need to start one.
    patient = {**driven.env, "MCP_TIMEOUT": f"{1000 * DEADLINE:.0f}"}
    unasked = driven.cli.unasked if driven.cli.harness == "claude-code" else ()
    driven.declare(args=list(unasked), env=patient, **fields)
    driven.daemon.write_jcard(driven.daemon.jcard.read_text() + jcard_of())
    driven.daemon.wait_for(
        lambda: (agent := driven.daemon.agent("agent")) and agent["activity"] == "idle", DEADLINE, what="it is idle"
    )


def use(driven: DrivenCli, tool: str, **arguments: object) -> dict[str, object]:
    """Have the host call a tool, once it offers it, and give what its model was given."""
    message = f"STUB-TOOL:*{tool} {json.dumps(arguments)}\nSTUB-RESULT:"

    def asked() -> str | None:
        answer = output_of(driven, "ask", f"--timeout={ANSWER:g}s", "agent", message)
        return None if UNKNOWN_TOOL in answer else answer

    answer = wait_for(asked, DEADLINE, what=f"the host offers {tool}", explain=lambda: driven.daemon.screen("agent"))
    given = in_object(answer)
    assert "error" not in given, given["error"]
    return given


def until(driven: DrivenCli, workers: list[str], event: str, cursor: object = None) -> dict[str, object]:
    """Have the host wait for an event of workers, again and again if need be."""
    seen: dict[str, object] = {"cursor": cursor}

    def observed() -> bool:
        after = {"cursor": seen["cursor"]} if seen["cursor"] is not None else {}
        seen.update(use(driven, "observe_workers", workers=workers, **{"for": [event]}, **after))
        return seen.get("event") == event

    def screens() -> str:
        return "\n".join([str(seen), *map(driven.daemon.screen, workers)])

    wait_for(observed, DEADLINE, what=f"{workers}: {event}", explain=screens)
    return seen


def in_object(text: str) -> dict[str, object]:
    """Read the result of a tool, out of what a host puts around it."""
    found = re.search(rf"(?:{RESULT})?.*?(\{{.*\}})", text, re.DOTALL)
    assert found is not None, text
    given: object = json.loads(found[1], strict=False)
    assert isinstance(given, dict), text
    return in_object(given["output"]) if set(given) == {"output"} else given


def test_a_host_spawns_observes_answers_and_collects(driven: DrivenCli) -> None:
    daemon, repo = driven.daemon, driven.daemon.folder / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "one")
    tell(driven)
    declare(driven)
    job = {"provider": PROVIDER, "task": "hello ASK-QUESTION", "repo": str(repo), "isolation": "worktree"}
    worker = str(use(driven, "spawn_worker", **job)["id"])
    asked = until(driven, [worker], "question")
    assert "Which colour?" in str(asked["asks"])
    use(driven, "answer_request", worker=worker, decision="answer", text="Blue")
    done = until(driven, [worker], "completed", asked["cursor"])
    assert "You said: hello ASK-QUESTION (Blue)" in str(done["answer"])
    agent = daemon.agent(worker)
    assert agent is not None
    (Path(agent["workdir"]) / "new.txt").write_text("made\n")
    work = use(driven, "collect_work", worker=worker)
    git(repo, "apply", "--index", str(work["patch"]))
    assert (repo / "new.txt").read_text() == "made\n"
    listed = json.loads(output_of(driven, "workers", "--json"))
    assert [(each["id"], each["spawned_by"]) for each in listed["workers"]] == [(worker, "agent")]
    # Claude Code says which use of a tool calls, Codex which of its threads; the others say nothing.
    (parent,) = (str(each["parent"]) for each in listed["workers"])
    linked = {"claude-code": r"toolu_\w+", "codex": r"[0-9a-f]{8}-[0-9a-f-]{27}"}
    assert re.fullmatch(linked.get(driven.cli.harness, "agent"), parent), parent
