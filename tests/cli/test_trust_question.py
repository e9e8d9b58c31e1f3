"""Trust in folders that agentd made, and what is said of an agent that waits for an answer."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any, cast

import pytest

from agentd.cli.agentctl.client import Api
from agentd.cli.agentctl.trust_question import asked, first_seen
from agentd.harness.builtin import BUILT_IN
from agentd.model.screen import Screen
from tests.cli.support import RUNNING, Client
from tests.cli.test_worktrees import client_of
from tests.support import boxed_agent
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.thorough import everyday
from tests.support.waiting import wait_for

QUESTIONS = {
    "claude-code": "\n Quick safety check: Is this a project you created or\n one you trust? (Like your own code)\n\n"
    " \N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT} 1. Yes, I trust this folder\n",
    "gemini-cli": "\u256d\u2500\u256e\n\u2502 Do you trust the files in \u2502\n\u2502 this folder? \u2502\n",
    "codex": "  Trust this folder? Codex can read, edit, and run\n  files here, subject to your permission settings.\n",
}
"""As claude 2.1.197, gemini 0.61.0 and codex 0.169.0 show them, wrapped."""


@pytest.fixture
def client(daemon: Daemon) -> Client:
    for name in ("claude", "gemini", "codex"):
        boxed_agent.install(daemon.bin / name)
    # As root the home would be the real one.
    daemon.write_secret("HOME", str(daemon.home))
    daemon.write_jcard("# none\n")
    daemon.start()
    return client_of(daemon)


@pytest.mark.parametrize("harness", QUESTIONS)
def test_a_question_is_seen_until_the_agent_is_ready(harness: str) -> None:
    facts = BUILT_IN[harness].facts
    assert asked(facts, QUESTIONS[harness]) is not None
    assert asked(facts, f"{QUESTIONS[harness]}\n{facts.ready_marker}") is None
    assert asked(facts, "something else") is None
    assert asked(BUILT_IN["custom"].facts, QUESTIONS[harness]) is None


class LateJournal:
    """An API whose journal shows an event at the second look, and whose agent is ready at the first."""

    looks = 0

    def get(self, path: str) -> object:
        if not path.startswith("/v1/events"):
            marker = BUILT_IN["claude-code"].facts.ready_marker or ""
            return asdict(Screen("a", "a", 80, 24, 0, 0, cursor_visible=True, lines=[marker]))
        self.looks += 1
        data = {"folder": RUNNING.workdir, "harness": "claude-code", "path": "/home/ada/.claude.json"}
        return [{"data": data}] if self.looks > 1 else []


def test_trust_that_the_journal_shows_late_is_said_of_an_agent_that_is_ready_at_once() -> None:
    agent = replace(RUNNING, harness="claude-code")
    assert first_seen(cast("Api", LateJournal()), agent) == ("/home/ada/.claude.json", None)


@pytest.mark.parametrize("harness", everyday(["claude-code"], QUESTIONS))
def test_an_agent_in_a_folder_of_the_users_is_said_to_wait(client: Client, daemon: Daemon, harness: str) -> None:
    folder = daemon.folder / "mine"
    folder.mkdir()
    (folder / "ask").write_text(QUESTIONS[harness])
    done = client("hire", "engineer", "eve", "--harness", harness, "--workspace", str(folder), "--json")
    document: Any = done.document
    assert done.status == 0
    assert document["trusted_in"] is None
    assert document["waiting"].startswith("waits for an answer: ")
    assert document["waiting"].endswith("; agentctl attach engineer_eve")
    assert f"engineer_eve {document['waiting']}" in done.err
    assert ["detail", document["waiting"]] in client("status", "engineer_eve").rows
    advice = "agentctl attach engineer_eve"
    assert any(row[:2] == ["warning", "agent"] and row[3] == advice for row in client("doctor").rows)
    assert not list(daemon.home.rglob("*rust*.json"))
    assert not (daemon.home / ".claude.json").exists()

    (folder / "ask").unlink()
    wait_for(
        lambda: not any(row[0] == "detail" for row in client("status", "engineer_eve").rows), 20, what="it is answered"
    )


def test_a_workspace_that_agentd_made_is_trusted_and_said_so(client: Client, daemon: Daemon) -> None:
    workspace = daemon.data / "workspaces" / "engineer_alice"
    done = client("hire", "engineer", "alice", "--json")
    document: Any = done.document
    file = daemon.home / ".claude.json"
    assert document["trusted_in"] == str(file)
    assert f"agentd had claude-code trust {workspace}, in {file}" in done.err
    assert json.loads(file.read_text()) == {"projects": {str(workspace): {"hasTrustDialogAccepted": True}}}
    assert client("restart", "engineer_alice").status == 0
    daemon.wait_state("engineer_alice", "running")
    assert daemon.log_text().count("agent_trust") == 1


@pytest.mark.usefixtures("client")
def test_a_link_in_the_place_of_a_workspace_and_a_bad_file_get_no_trust(daemon: Daemon) -> None:
    mine = daemon.folder / "mine"
    mine.mkdir()
    linked = daemon.data / "workspaces" / "linked"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(mine)
    own = daemon.data / "workspaces" / "own"
    (daemon.home / ".claude.json").write_text("{")
    env = {"HOME": str(daemon.home)}
    common = {"harness": "claude-code", "role": "engineer", "env": env}
    daemon.write_jcard(
        jcard({"name": "a", "workdir": str(linked), **common}, {"name": "b", "workdir": str(own), **common})
    )
    for name in ("a", "b"):
        daemon.wait_state(name, "running")
    assert (daemon.home / ".claude.json").read_text() == "{"
    logged = [line for line in daemon.log_text().splitlines() if "agent_trust" in line]
    assert len(logged) == 1
    assert "is left alone" in logged[0]
