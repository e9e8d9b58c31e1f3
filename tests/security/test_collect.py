"""What an agent forges in its repository makes nobody write outside of the folder that they collect into."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
from pathlib import Path

import pytest

from agentd.pool.output_folder import OutputError, new_folder
from agentd.worktrees.git import GitError
from agentd.worktrees.tree_paths import EXECUTABLE, LINK, TreeFile, check_files, leads_outside, tree_file
from tests.cli.support import Client, Finished
from tests.security.users import AGENT_USER, STRANGER, account
from tests.worktrees.forging import add_under, have_tree, object_of, tree_of
from tests.worktrees.repositories import World


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "of whoever collects" / "results"
    folder.mkdir(parents=True)
    return folder


def client_of(world: World) -> Client:
    """Give agentctl while no daemon runs, as the user whose worktrees they are."""
    return Client(world.folder, {"AGENTD_DATA_DIR": str(world.folder), "AGENTD_AGENT_USER": getpass.getuser()})


def collect(world: World, output: Path) -> Finished:
    return client_of(world)("collect", "alice", "--output", output)


def assert_refused(done: Finished, path: str, results: Path) -> None:
    assert (done.status, done.out) == (1, "")
    assert path in done.err
    assert "Traceback" not in done.err
    assert list(results.parent.rglob("*")) == [results]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"../../../escaped", '"../../../escaped"'),
        pytest.param(b"../x", '"../x"', marks=pytest.mark.thorough),
        pytest.param(b"a/../../x", '"a/../../x"', marks=pytest.mark.thorough),
        # Of these git knows itself.
        pytest.param(b"/tmp/escaped", "empty filename", marks=pytest.mark.thorough),
        pytest.param(b"a//x", "empty filename", marks=pytest.mark.thorough),
        pytest.param(b"./x", '"./x"', marks=pytest.mark.thorough),
        (b".git/hooks/post-checkout", '".git/hooks/post-checkout"'),
        pytest.param(b"vendor/.GIT/config", '"vendor/.GIT/config"', marks=pytest.mark.thorough),
        (b"GIT~1/config", '"GIT~1/config"'),
        (b"../\x1b[2J", r'"../\x1b[2J"'),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(world: World, results: Path, path: bytes, shown: str) -> None:
    add_under(world.make().path, path, b"evil\n")
    done = collect(world, results / "alice")
    assert_refused(done, shown, results)


def test_nothing_is_written_by_way_of_a_link(world: World, results: Path, tmp_path: Path) -> None:
    tree = world.make().path
    outside = tmp_path / "outside"
    outside.mkdir()
    link = object_of(tree, "blob", os.fsencode(outside))
    folder = tree_of(tree, ("100644", b"x", object_of(tree, "blob", b"evil")))
    have_tree(tree, tree_of(tree, ("120000", b"l", link), ("40000", b"l", folder)))
    assert_refused(collect(world, results / "alice"), '"l/x", and "l" as a file', results)
    assert list(outside.iterdir()) == []


def test_one_path_twice_is_refused(world: World, results: Path) -> None:
    tree = world.make().path
    one, other = object_of(tree, "blob", b"one"), object_of(tree, "blob", b"other")
    have_tree(tree, tree_of(tree, ("100644", b"x", one), ("100644", b"x", other)))
    assert_refused(collect(world, results / "alice"), '"x", which occurs twice', results)


def test_no_special_mode_is_taken_over(world: World, results: Path) -> None:
    tree = world.make().path
    have_tree(tree, tree_of(tree, ("104755", b"suid", object_of(tree, "blob", b"#!/bin/sh\n"))))
    done = collect(world, results / "alice")
    found = results / "alice" / "files" / "suid"
    assert done.status == 1 or found.stat().st_mode & 0o7777 in (0o600, 0o700)


@pytest.mark.parametrize(
    ("target", "outside"),
    [
        ("a.txt", False),
        ("./deep/../../a.txt", False),
        ("../a.txt", False),
        ("../../a.txt", True),
        ("/etc/passwd", True),
        ("..//..", True),
        ("deep/link/../../../x", True),
        ("DEEP/LINK/x", True),
        ("", True),
    ],
)
def test_a_link_that_leads_outside_is_told(target: str, outside: bool) -> None:
    link = TreeFile("folder/link", LINK, "")
    links = {"folder/deep/link": TreeFile("folder/deep/link", LINK, ""), "folder/link": link}
    assert leads_outside(link, target.encode(), links) == outside


@pytest.mark.parametrize(
    "path",
    [
        *(".git", "a/.Git/x", ".g\u200cit/x", "git~1", ".git ", ".git...", ".git::$INDEX_ALLOCATION/x"),
        *(".git\\hooks/x", "/etc/x", "a//b", "x" * 256, "/".join("x" * 201), "y/" * 2500 + "y", ""),
    ],
)
def test_what_git_itself_refuses_on_any_system_is_refused(path: str) -> None:
    with pytest.raises(GitError):
        check_files([TreeFile(path, EXECUTABLE, "")])


def test_names_that_are_only_odd_are_taken() -> None:
    names = [".gitignore", ".github/x", "git~2", "...", "-rf", "a b\n", "\udcff", ".git~", "agit", "con", "x\\..\\y"]
    check_files([TreeFile(name, EXECUTABLE, "") for name in names])


@pytest.mark.parametrize(
    "entry", ["", "100644 blob x\ty", "100644 tree " + "0" * 40 + "\ty", "0 blob\ty", "100644 blob"]
)
def test_what_is_no_list_of_files_is_refused(entry: str) -> None:
    with pytest.raises(GitError):
        tree_file(entry)


def test_what_stands_in_the_way_is_neither_written_to_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    def write() -> None:
        with new_folder(tmp_path / "new") as folder:
            folder.new_file("a/x").close()
            [part] = tmp_path.glob(".new.*")
            (part / "a").rename(part / "b")
            (part / "a").symlink_to(outside)
            (part / "c").symlink_to(outside / "c")
            with pytest.raises(OSError, match="Not a directory"):
                folder.new_file("a/y")
            folder.new_file("c")

    with pytest.raises(OutputError, match="exists already"):
        write()
    assert list(tmp_path.rglob("*")) == [outside]


def test_a_folder_that_somebody_puts_in_the_place_of_what_was_written_is_told(tmp_path: Path) -> None:
    def write() -> None:
        with new_folder(tmp_path / "new") as folder:
            folder.new_file("x").close()
            [part] = tmp_path.glob(".new.*")
            part.rename(tmp_path / "taken")
            part.mkdir()

    with pytest.raises(OutputError, match="is not the folder that was written"):
        write()


def test_nobody_runs_git_with_their_own_rights_in_somebody_elses_worktrees(world: World) -> None:
    place = world.make()
    (world.repo / ".git" / "config").write_text('[filter "x"]\n\tclean = "touch ran; cat"\n')
    stranger = account(STRANGER)
    os.chown(place.path.parent, stranger.pw_uid, stranger.pw_gid)
    for command in (("collect", "alice"), ("diff", "alice"), ("worktrees", "list"), ("worktrees", "clean", "--force")):
        done = client_of(world)(*command)
        assert done.status == 1
        assert f"only root and {STRANGER} may look into them" in done.err
    assert place.path.exists()


def test_root_collects_from_another_user_without_being_led_outside(short_folder: Path, results: Path) -> None:
    agent = account(AGENT_USER)
    short_folder.chmod(0o755)
    world = World(short_folder)
    place = world.make()
    with (world.repo / ".git" / "config").open("a") as config:
        config.write(f'[filter "x"]\n\tclean = "id -u >>{world.folder}/ran; cat"\n')
    (place.path / ".gitattributes").write_text("*.txt filter=x\n")
    (place.path / "new.txt").write_text("new\n")
    (world.folder / "jcard.toml").write_text("# nobody\n")

    def hand_over(user: pwd.struct_passwd) -> None:
        for path in (world.folder, *world.folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    hand_over(agent)
    client = Client(world.folder, {"AGENTD_DATA_DIR": str(world.folder), "AGENTD_AGENT_USER": AGENT_USER})
    assert client("collect", "alice", "--output", results / "honest").status == 0
    written = [path.lstat() for path in (results / "honest").rglob("*")]
    assert {(found.st_uid, found.st_mode & 0o7077) for found in written} == {(0, 0)}
    assert set((world.folder / "ran").read_text().split()) == {str(agent.pw_uid)}
    shutil.rmtree(results / "honest")

    # git lets nobody but its owner use a repository.
    hand_over(account("root"))
    add_under(place.path, b"../../../escaped", b"evil\n")
    hand_over(agent)
    assert_refused(client("collect", "alice", "--output", results / "alice"), '"../../../escaped"', results)
    cleaned = client("worktrees", "clean", "--force").out
    commands = [line.strip() for line in cleaned.splitlines() if line.startswith("    ")]
    assert commands
    assert all(command.startswith(f"sudo -u {AGENT_USER} git -C {world.repo} branch ") for command in commands)
    assert not place.path.exists()
