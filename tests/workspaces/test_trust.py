"""What is written where harnesses keep which folders they trust."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agentd.harness.builtin import CLAUDE_CODE, GEMINI_CLI
from agentd.harness.trust import TrustFile
from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.workspaces.trust import TrustError, give_trust

FOLDER = Path("/data/worktrees/a b'c")


def _file(facts: object) -> TrustFile:
    assert isinstance(facts, TrustFile)
    return facts


CLAUDE = _file(CLAUDE_CODE.facts.trust and CLAUDE_CODE.facts.trust.file)
GEMINI = _file(GEMINI_CLI.facts.trust and GEMINI_CLI.facts.trust.file)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    user = AgentUser("me", os.geteuid(), os.getegid(), (), tmp_path, "/bin/sh", switch=False)
    return Runner(user, os.environ)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (CLAUDE, None, {"projects": {str(FOLDER): {"hasTrustDialogAccepted": True}}}),
        (
            CLAUDE,
            {"theme": "dark", "projects": {"/mine": {"x": 1}, str(FOLDER): {"y": [2]}}},
            {
                "theme": "dark",
                "projects": {"/mine": {"x": 1}, str(FOLDER): {"y": [2], "hasTrustDialogAccepted": True}},
            },
        ),
        (GEMINI, None, {str(FOLDER): "TRUST_FOLDER"}),
        (GEMINI, {"/é": "DO_NOT_TRUST"}, {"/é": "DO_NOT_TRUST", str(FOLDER): "TRUST_FOLDER"}),
    ],
)
def test_one_folder_is_added_once_and_all_else_is_kept(
    runner: Runner, tmp_path: Path, file: TrustFile, before: object, after: object
) -> None:
    path = file.path({"HOME": str(tmp_path / "home")}, tmp_path)
    if before is not None:
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(before))
        path.chmod(0o644)
    assert give_trust(runner, file, path, FOLDER)
    assert json.loads(path.read_text()) == after
    assert path.stat().st_mode & 0o777 == (0o600 if before is None else 0o644)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    was = path.stat().st_ino
    assert not give_trust(runner, file, path, FOLDER)
    assert path.stat().st_ino == was


def test_a_refusal_stays(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "trustedFolders.json"
    path.write_text(text := json.dumps({str(FOLDER): "DO_NOT_TRUST"}))
    assert not give_trust(runner, GEMINI, path, FOLDER)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["{", "[]", '{"projects": 3}', "\xff", "[" * 100_000])
def test_a_file_that_is_not_as_expected_is_left_alone(runner: Runner, tmp_path: Path, text: str) -> None:
    path = tmp_path / ".claude.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TrustError, match="left alone"):
        give_trust(runner, CLAUDE, path, FOLDER)
    assert path.read_bytes() == text.encode("latin-1")


def test_a_link_stays_a_link_and_one_in_the_place_of_the_new_file_is_not_followed(
    runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "dotfiles").mkdir()
    target, path, victim = tmp_path / "dotfiles/claude.json", tmp_path / ".claude.json", tmp_path / "victim"
    target.write_text("{}")
    path.symlink_to(target)
    victim.write_text("whole")
    (target.parent / ".claude.json.agentd").symlink_to(victim)
    assert give_trust(runner, CLAUDE, path, FOLDER)
    assert path.is_symlink()
    assert "projects" in target.read_text()
    assert victim.read_text() == "whole"


def test_the_environment_may_name_another_folder() -> None:
    home = Path("/home/a")
    assert CLAUDE.path({}, home) == home / ".claude.json"
    assert CLAUDE.path({"CLAUDE_CONFIG_DIR": "/b", "HOME": "/c"}, home) == Path("/b/.claude.json")
    assert GEMINI.path({"HOME": "/c"}, home) == Path("/c/.gemini/trustedFolders.json")
