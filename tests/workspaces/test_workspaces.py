"""Workspaces: templates, whose win, and nothing that is there is touched."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from agentd.process.runner import Runner
from agentd.workspaces.roles import TemplateError, TemplateValues, built_in, daily_file, workspace_files
from agentd.workspaces.workspace import WorkspaceError, make_workspace
from tests.worktrees.repositories import invoking_user

DAY = date(2026, 1, 31)
FILES = ["AGENTS.md", "SOUL.md", "memory/memory.md", "notes/daily-2026-01-31.md"]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(invoking_user(tmp_path), os.environ)


def test_any_role_has_the_files_of_the_default_filled_in(tmp_path: Path) -> None:
    texts = workspace_files(TemplateValues("gardener", "gardener_eve", DAY), tmp_path)
    assert list(texts) == FILES
    assert "You are gardener_eve, and your role is gardener." in texts["SOUL.md"]
    assert texts["notes/daily-2026-01-31.md"].startswith("# 2026-01-31\n")
    assert not any("{" in text for text in texts.values())


def test_the_roles_that_come_with_agentd_differ_in_their_soul(tmp_path: Path) -> None:
    assert sorted(built_in()) == ["default", "engineer", "manager", "reviewer", "writer"]
    texts = [
        workspace_files(TemplateValues(role, "x", DAY), tmp_path)
        for role in ("engineer", "manager", "reviewer", "writer", "none")
    ]
    assert len({each["SOUL.md"] for each in texts}) == 5
    assert len({each["AGENTS.md"] for each in texts}) == 1


def test_a_users_templates_win_file_by_file(tmp_path: Path) -> None:
    for name, text in {
        "engineer/SOUL.md": "mine {name} {date} {else}",
        "engineer/skills/deploy.md": "more",
        "engineer/.hidden": "no",
        "default/AGENTS.md": "for all",
        "default/SOUL.md": "less than what comes with a role",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    texts = workspace_files(TemplateValues("engineer", "ada", DAY), tmp_path)
    assert sorted(texts) == sorted([*FILES, "skills/deploy.md"])
    assert texts["SOUL.md"] == "mine ada 2026-01-31 {else}"
    assert texts["AGENTS.md"] == "for all"
    assert "a reviewer" in workspace_files(TemplateValues("reviewer", "x", DAY), tmp_path)["SOUL.md"]
    assert workspace_files(TemplateValues("cook", "x", DAY), tmp_path)["SOUL.md"].startswith("less")


def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cook" / "notes").mkdir(parents=True)
    (tmp_path / "cook" / "notes" / "daily.md").write_bytes(b"\xff")
    for write in (workspace_files, daily_file):
        with pytest.raises(TemplateError, match=r"cook/notes/daily\.md is not UTF-8"):
            write(TemplateValues("cook", "x", DAY), tmp_path)


def test_a_workspace_is_made_with_links_for_every_harness(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "it's here"
    texts = workspace_files(TemplateValues("engineer", "ada", DAY), tmp_path)
    assert sorted(make_workspace(runner, folder, texts)) == sorted([*FILES, "CLAUDE.md", "GEMINI.md"])
    for name in ("CLAUDE.md", "GEMINI.md"):
        assert (folder / name).readlink() == Path("AGENTS.md")
        assert (folder / name).read_text() == texts["AGENTS.md"]
    assert {name: (folder / name).read_text() for name in texts} == dict(texts)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert make_workspace(runner, folder, texts) == []


def test_what_is_there_is_never_overwritten_nor_written_through(runner: Runner, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "w", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "SOUL.md").write_text("mine")
    (folder / "AGENTS.md").symlink_to(elsewhere)
    (folder / "CLAUDE.md").write_text("other instructions")
    make_workspace(runner, folder, workspace_files(TemplateValues("engineer", "ada", DAY), tmp_path))
    assert (folder / "SOUL.md").read_text() == "mine"
    assert (folder / "CLAUDE.md").read_text() == "other instructions"
    assert not elsewhere.exists()


def test_text_arrives_byte_for_byte(runner: Runner, tmp_path: Path) -> None:
    text = "it's \\n %s $HOME `x` é\x01\n\n" + "x" * 200_000
    make_workspace(runner, tmp_path / "w", {"a b/$c.md": text})
    assert (tmp_path / "w" / "a b" / "$c.md").read_text() == text


def test_a_folder_that_cannot_be_made_is_an_error_with_the_reason(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="file"):
        make_workspace(runner, tmp_path / "file" / "w", {"a": "b"})
