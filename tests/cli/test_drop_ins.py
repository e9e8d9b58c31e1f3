"""agentctl and the files beside the jcard: each agent is edited in the file that declares it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from tests.cli.support import Client

JCARD = '[[agents]]\nname = "reviewer"\nharness = "codex"\n'
TEAM = '# The team.\n[[agents]]\nname = "fixer"\nharness = "codex"\n\n[[agents]]\nname = "tester"\nharness = "codex"\n'
NIGHTLY = '[drop_in]\nlease = "30s"\n\n[agent]\nname = "nightly"\nharness = "codex"\n'


@pytest.fixture
def files(client: Client) -> Client:
    """A jcard, a drop-in of nobody's, and one of an owner's."""
    (client.folder / "jcard.d/ci").mkdir(parents=True)
    write(client, "jcard.toml", JCARD)
    write(client, "jcard.d/team.toml", TEAM)
    write(client, "jcard.d/ci/nightly.toml", NIGHTLY)
    return client


def write(client: Client, name: str, text: str) -> Path:
    path = client.folder / name
    path.write_text(text)
    return path


def texts(client: Client) -> dict[str, str]:
    folder = client.folder
    paths = [folder / "jcard.toml", *(path for path in folder.glob("jcard.d/**/*") if path.is_file())]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


BEFORE = {"jcard.toml": JCARD, "jcard.d/team.toml": TEAM, "jcard.d/ci/nightly.toml": NIGHTLY}


@pytest.mark.parametrize(
    ("name", "file"),
    [("reviewer", "jcard.toml"), ("TESTER", "jcard.d/team.toml"), ("nightly", "jcard.d/ci/nightly.toml")],
)
def test_an_agent_is_edited_in_the_file_that_declares_it(files: Client, name: str, file: str) -> None:
    done = files("set", name, "model=large")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"--- {files.folder / file}\n")
    now = texts(files)
    assert 'model = "large"' in now.pop(file)
    assert now == {path: text for path, text in BEFORE.items() if path != file}


def test_one_command_edits_several_files_or_none(files: Client) -> None:
    done = files("stop", "nightly", "reviewer", "fixer", "--json")
    assert (done.status, done.err) == (0, "")
    document = cast("dict[str, object]", done.document)
    assert document["files"] == [
        f"{files.folder}/{file}" for file in ("jcard.d/ci/nightly.toml", "jcard.toml", "jcard.d/team.toml")
    ]
    assert document["agents"] == ["nightly", "reviewer", "fixer"]
    assert [text.count("enabled = false") for text in texts(files).values()] == [1, 1, 1]

    before = texts(files)
    done = files("remove", "reviewer", "nobody")
    assert done.status == 1
    assert done.err == (
        f'agentctl: there is no agent "nobody": {files.folder}/jcard.toml and its drop-ins declare reviewer, nightly, '
        "fixer, tester\n"
    )
    assert texts(files) == before


def test_a_clash_with_another_file_is_refused_wherever_that_stands(files: Client) -> None:
    for call in (["rename", "reviewer", "fixer"], ["add", "NIGHTLY", "--harness", "codex"]):
        done = files(*call)
        assert done.status == 1, call
        assert "not edited: the file would not be valid" in done.err
        assert "already taken by" in done.err
    done = files("set", "fixer", "session=reviewer")
    assert done.status == 1
    assert f"{files.folder}/jcard.toml:2:" in done.err
    assert texts(files) == BEFORE


def test_a_file_that_is_broken_already_keeps_nobody_from_editing_another(files: Client) -> None:
    write(files, "jcard.d/team.toml", '[[agents]]\nname = "fixer"\nharness = "no-such"\n')
    write(files, "jcard.d/worse.toml", "[[agents")
    assert files("set", "reviewer", "model=m").status == 0
    # The broken one is mended by an edit too.
    assert files("set", "fixer", "harness=codex").status == 0
    assert 'harness = "codex"' in texts(files)["jcard.d/team.toml"]


def test_the_last_agent_takes_its_drop_in_along_but_not_the_jcard(files: Client) -> None:
    done = files("remove", "fixer")
    assert (done.status, "tester" in texts(files)["jcard.d/team.toml"]) == (0, True)
    done = files("remove", "nightly", "--dry-run")
    assert "+++ /dev/null\n" in done.out
    assert "jcard.d/ci/nightly.toml" in texts(files)
    done = files("remove", "nightly", "tester", "reviewer")
    assert (done.status, done.err) == (0, "")
    assert list(texts(files)) == ["jcard.toml"]


def test_a_symlink_goes_and_what_it_leads_to_stays(files: Client) -> None:
    target = write(files, "elsewhere.toml", '[agent]\nname = "far"\nharness = "codex"\n')
    link = files.folder / "jcard.d/far.toml"
    link.symlink_to(target)
    assert files("set", "far", "model=m").status == 0
    assert link.is_symlink()
    assert "model" in target.read_text()
    assert files("remove", "far").status == 0
    assert not link.is_symlink()
    assert target.exists()


def test_add_makes_a_drop_in_and_adds_to_one(client: Client) -> None:
    write(client, "jcard.toml", JCARD)
    (client.folder / "jcard.d/ci/work").mkdir(parents=True)
    for name in ("one", "two"):
        done = client("add", name, "--harness", "codex", "--file", "ci/build", "--workdir", "jcard.d/ci/work")
        assert (done.status, done.err) == (0, "")
    text = texts(client)["jcard.d/ci/build.toml"]
    assert text.count("[[agents]]") == 2
    assert text.count('workdir = "work"') == 2
    assert texts(client)["jcard.toml"] == JCARD
    assert client("add", "three", "--harness", "codex", "--file", "solo.toml").status == 0
    assert "three" in texts(client)["jcard.d/solo.toml"]


@pytest.mark.parametrize("name", ["../jcard", "/tmp/x", ".hidden", "a/b/c", "a/.b", "..", "team/"])
def test_add_makes_no_file_that_agentd_would_not_read(files: Client, name: str) -> None:
    done = files("add", "x", "--harness", "codex", "--file", name)
    assert done.status == 1
    assert "--file: expected the name of a drop-in" in done.err
    assert texts(files) == BEFORE


def test_validate_takes_the_folder_too(files: Client) -> None:
    done = files("validate")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f"{files.folder}/jcard.toml and 2 drop-ins: valid: 4 agents\n")
    assert files("validate", files.folder / "jcard.toml").out == done.out
    alone = files("validate", files.folder / "jcard.d")
    assert (alone.status, alone.rows[-1]) == (0, [f"{files.folder}/jcard.d and 2 drop-ins: valid: 3 agents"])

    write(files, "jcard.d/zz.toml", JCARD)
    done = files("validate", "--json")
    document = cast("dict[str, list[dict[str, object]]]", done.document)
    assert done.status == 1
    assert [error["file"] for error in document["errors"]] == [f"{files.folder}/jcard.d/zz.toml"]
    assert [(Path(str(file["path"])).name, file["valid"], file["agents"]) for file in document["files"]] == [
        ("jcard.toml", True, ["reviewer"]),
        ("nightly.toml", True, ["nightly"]),
        ("team.toml", True, ["fixer", "tester"]),
        ("zz.toml", False, []),
    ]
    assert [(agent["name"], agent["owner"]) for agent in document["agents"]] == [
        ("reviewer", None), ("nightly", "ci"), ("fixer", None), ("tester", None),
    ]  # fmt: skip


def test_another_folder_is_named_by_a_flag(files: Client) -> None:
    (files.folder / "jcard.d").rename(files.folder / "others")
    assert files("validate").rows[-1] == [f"{files.folder}/jcard.toml: valid: 1 agent"]
    done = files("validate", "--config-dir", files.folder / "others")
    assert done.rows[-1] == [f"{files.folder}/jcard.toml and 2 drop-ins: valid: 4 agents"]
    assert files("set", "nightly", "model=m", AGENTD_CONFIG_DIR=str(files.folder / "others")).status == 0
