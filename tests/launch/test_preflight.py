from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.files.permissions import may_execute
from agentd.launch import preflight
from agentd.launch.preflight import PreflightError, ProgramCache, check_interpreter, check_workdir, find_program
from agentd.model.user import AgentUser

OTHER = 54321
"""A user, and a group, that owns nothing."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others and become them")


def user(uid: int = -1, gid: int = -1, groups: tuple[int, ...] = ()) -> AgentUser:
    return AgentUser(
        "someone",
        os.getuid() if uid < 0 else uid,
        os.getgid() if gid < 0 else gid,
        groups,
        Path("/nonexistent"),
        "/bin/sh",
        switch=False,
    )


@pytest.fixture
def become_other() -> Iterator[None]:
    """Be a user without rights for the test."""
    os.setegid(OTHER)
    os.seteuid(OTHER)
    yield
    os.seteuid(0)
    os.setegid(0)


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


# -- the workdir


def test_a_folder_will_do_as_workdir(short_folder: Path) -> None:
    check_workdir(short_folder, user())


def test_a_link_to_a_folder_will_do_as_workdir(short_folder: Path) -> None:
    (short_folder / "link").symlink_to(short_folder)
    check_workdir(short_folder / "link", user())


def test_a_missing_workdir_says_what_to_do(short_folder: Path) -> None:
    missing = short_folder / "missing"
    with pytest.raises(PreflightError, match=re.escape(f"the workdir {missing} does not exist; create it")):
        check_workdir(missing, user())


def test_a_file_is_no_workdir(short_folder: Path) -> None:
    file = program(short_folder / "file")
    with pytest.raises(PreflightError, match=re.escape(f"expected the workdir {file} to be a folder")):
        check_workdir(file, user())
    with pytest.raises(PreflightError, match=f"cannot look at the workdir {file}/below: Not a directory"):
        check_workdir(file / "below", user())


def test_a_link_to_itself_is_no_workdir(short_folder: Path) -> None:
    (short_folder / "loop").symlink_to("loop")
    with pytest.raises(PreflightError, match="cannot look at the workdir"):
        check_workdir(short_folder / "loop", user())


def test_a_workdir_closed_to_the_agent_user_says_so(short_folder: Path) -> None:
    short_folder.chmod(0o750)
    stranger = user(OTHER, OTHER)
    with pytest.raises(PreflightError, match=f"user someone may not enter the workdir {short_folder}; change its mode"):
        check_workdir(short_folder, stranger)
    check_workdir(short_folder, replace(stranger, groups=(short_folder.stat().st_gid,)))


@needs_root
def test_root_may_enter_every_workdir(short_folder: Path) -> None:
    short_folder.chmod(0)
    check_workdir(short_folder, user(0, 0))


@needs_root
@pytest.mark.usefixtures("become_other")
def test_a_workdir_in_a_folder_closed_to_agentd_says_so() -> None:
    with pytest.raises(PreflightError, match="cannot look at the workdir /root/x: Permission denied"):
        check_workdir(Path("/root/x"), user(OTHER, OTHER))


# -- the program


def test_a_program_is_found_on_the_path_of_the_agent_in_order(short_folder: Path) -> None:
    program(short_folder / "two/tool")
    three = program(short_folder / "three/tool")
    path = f"{short_folder}/one:{short_folder}/three:{short_folder}/two"
    assert find_program("tool", {"PATH": path}, short_folder, user()) == str(three)


@pytest.mark.parametrize(
    "path", ["{}/closed:{}/open", "{}/folder:{}/open", "{}/dangling:{}/open", "{}/closed/tool:{}/open"]
)
def test_what_cannot_be_executed_is_passed_over(short_folder: Path, path: str) -> None:
    program(short_folder / "closed/tool", 0o644)
    (short_folder / "folder/tool").mkdir(parents=True)
    (short_folder / "dangling").mkdir()
    (short_folder / "dangling/tool").symlink_to("nowhere")
    found = program(short_folder / "open/tool")
    search = path.format(short_folder, short_folder)
    assert find_program("tool", {"PATH": search}, short_folder, user()) == str(found)


def test_a_link_to_a_program_is_a_program(short_folder: Path) -> None:
    program(short_folder / "real")
    (short_folder / "bin").mkdir()
    (short_folder / "bin/tool").symlink_to("../real")
    assert find_program("tool", {"PATH": f"{short_folder}/bin"}, short_folder, user()) == f"{short_folder}/bin/tool"


@pytest.mark.parametrize("path", ["", ":/nonexistent", "/nonexistent:", "/nonexistent::/nonexistent", "."])
def test_an_empty_entry_of_the_path_is_the_workdir(short_folder: Path, path: str) -> None:
    found = program(short_folder / "tool")
    assert Path(find_program("tool", {"PATH": path}, short_folder, user())) == found


def test_a_relative_entry_of_the_path_is_taken_from_the_workdir(short_folder: Path) -> None:
    found = program(short_folder / "node_modules/.bin/tool")
    assert find_program("tool", {"PATH": "node_modules/.bin"}, short_folder, user()) == str(found)


def test_a_program_that_is_nowhere_is_named_with_the_path_searched(short_folder: Path) -> None:
    with pytest.raises(PreflightError, match=re.escape('cannot find the program "tool" on the agent\'s PATH (/a:/b)')):
        find_program("tool", {"PATH": "/a:/b"}, short_folder, user())


def test_without_a_path_only_the_workdir_is_searched(short_folder: Path) -> None:
    with pytest.raises(PreflightError, match=re.escape("PATH ()")):
        find_program("sh", {}, short_folder, user())


@pytest.mark.parametrize("name", ["./tool", "bin/../tool", "{}/tool"])
def test_a_program_with_a_slash_is_looked_up_from_the_workdir_and_nowhere_else(short_folder: Path, name: str) -> None:
    found = program(short_folder / "tool")
    (short_folder / "bin").mkdir()
    answer = find_program(name.format(short_folder), {"PATH": "/nonexistent"}, short_folder, user())
    assert Path(answer).is_absolute()
    assert Path(answer).samefile(found)


def test_a_command_line_in_one_word_is_no_program_and_told_how_it_is_written(short_folder: Path) -> None:
    with pytest.raises(PreflightError, match="a command is written as a list, each word by itself"):
        find_program("npm run dev", {"PATH": "/bin"}, short_folder, user())


def test_a_missing_program_with_a_slash_is_named_whole(short_folder: Path) -> None:
    program(short_folder / "elsewhere/tool")
    with pytest.raises(PreflightError, match=f"the program {short_folder}/bin/tool does not exist"):
        find_program("bin/tool", {"PATH": f"{short_folder}/elsewhere"}, short_folder, user())


def test_a_program_with_a_slash_that_cannot_be_executed_says_so(short_folder: Path) -> None:
    program(short_folder / "tool", 0o644)
    with pytest.raises(PreflightError, match=f"the program {short_folder}/tool is not executable"):
        find_program("./tool", {}, short_folder, user())


@needs_root
@pytest.mark.usefixtures("become_other")
def test_a_program_in_a_folder_closed_to_agentd_says_so() -> None:
    with pytest.raises(PreflightError, match="the program /root/x/tool cannot be looked at: Permission denied"):
        find_program("/root/x/tool", {}, Path("/"), user(OTHER, OTHER))


def test_a_program_of_another_user_is_none(short_folder: Path) -> None:
    program(short_folder / "tool", 0o750)
    with pytest.raises(PreflightError, match="cannot find the program"):
        find_program("tool", {"PATH": str(short_folder)}, short_folder, user(OTHER, OTHER))


@needs_root
@pytest.mark.parametrize("mode", [0o100, 0o010, 0o001, 0o000, 0o666, 0o677, 0o767, 0o776])
@pytest.mark.parametrize(("uid", "gid"), [(OTHER, OTHER), (OTHER, 7), (7, OTHER), (7, 7), (0, 0), (0, OTHER)])
@pytest.mark.parametrize(("owner", "group"), [(OTHER, OTHER), (0, 0)])
def test_permissions_are_those_the_kernel_gives(
    short_folder: Path, mode: int, uid: int, gid: int, owner: int, group: int
) -> None:
    tool = program(short_folder / "tool")
    os.chown(tool, owner, group)
    tool.chmod(mode)
    test = subprocess.run(["test", "-x", tool], user=uid, group=gid, extra_groups=[], check=False)
    allowed = test.returncode == 0
    assert may_execute(user(uid, gid), tool.stat()) is allowed


# -- the cache


def test_a_program_found_before_is_found_again_where_it_was(short_folder: Path) -> None:
    cache, environment = ProgramCache(), {"PATH": f"{short_folder}/one:{short_folder}/two"}
    two = program(short_folder / "two/tool")
    assert cache.find("tool", environment, short_folder, user()) == str(two)
    program(short_folder / "one/tool")
    assert cache.find("tool", environment, short_folder, user()) == str(two)


def test_a_program_that_moved_is_looked_up_anew(short_folder: Path) -> None:
    cache, environment = ProgramCache(), {"PATH": f"{short_folder}/one:{short_folder}/two"}
    two = program(short_folder / "two/tool")
    cache.find("tool", environment, short_folder, user())
    one = program(short_folder / "one/tool")
    two.chmod(0o644)
    assert cache.find("tool", environment, short_folder, user()) == str(one)
    one.unlink()
    with pytest.raises(PreflightError):
        cache.find("tool", environment, short_folder, user())


@pytest.mark.parametrize("name", ["tool", "./tool", "bin/tool"])
def test_programs_of_other_workdirs_and_paths_are_other_programs(short_folder: Path, name: str) -> None:
    cache = ProgramCache()
    for place in ("a", "b"):
        found = program(short_folder / place / name)
        assert Path(cache.find(name, {"PATH": ""}, short_folder / place, user())) == found
    elsewhere = program(short_folder / "c/tool")
    if name == "tool":
        assert cache.find(name, {"PATH": str(elsewhere.parent)}, short_folder / "a", user()) == str(elsewhere)


def test_of_the_workdirs_that_there_ever_were_only_so_many_are_remembered(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_MOST_REMEMBERED", 2)
    tool = program(short_folder / "bin/tool")
    environment, cache = {"PATH": f"{short_folder}/nothing:{tool.parent}"}, ProgramCache()

    def looks(workdir: str) -> int:
        looked: list[str | Path] = []
        assert cache.find("tool", environment, short_folder / workdir, user(), go=looked.append) == str(tool)
        return len(looked)

    assert [looks(workdir) for workdir in ("a", "a", "b", "b", "a", "c", "c")] == [2, 1, 2, 1, 1, 2, 1]
    assert looks("a") == 2, "and what is forgotten is looked for again"


# -- what runs a script


def script(path: Path, first: str) -> str:
    path.write_text(f"{first}\nexit 0\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "first",
    [
        *("#!/bin/sh", "#! /bin/sh -eu", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -eu", "#!/usr/bin/env -i sh"),
        *("#!/usr/bin/env A=1 sh", "#!/usr/bin/env", "#!", "#! ", "", "\x7fELF", "#!\0"),
        # What env takes apart and fills in by rules of its own.
        *('#!/usr/bin/env -S "sh" -eu', "#!/usr/bin/env -S ${SHELL_OF_MINE} -eu", "#!/usr/bin/env -S sh\r"),
    ],
)
def test_a_script_whose_interpreter_is_there_will_do(short_folder: Path, first: str) -> None:
    check_interpreter(script(short_folder / "tool", first), {"PATH": "/bin:/usr/bin"}, short_folder, user())


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("#!/no/such/python", 'a script for the interpreter "/no/such/python", which does not exist; install that'),
        ("#!/etc/passwd -x", 'the interpreter "/etc/passwd", which is not executable'),
        ("#!/bin/sh\r", r'the interpreter "/bin/sh\\r", which does not exist'),
        ("#!/usr/bin/env noode", 'a script for "noode": cannot find the program "noode" on the agent\'s PATH'),
        ("#!/usr/bin/env -S noode --x", 'a script for "noode": cannot find'),
        ("#!bin/python", '/bin/python", which does not exist'),
    ],
)
def test_a_script_without_its_interpreter_says_what_is_missing(short_folder: Path, first: str, said: str) -> None:
    tool = script(short_folder / "tool", first)
    with pytest.raises(PreflightError, match=f"the program {tool} is .*{said}"):
        check_interpreter(tool, {"PATH": "/bin:/usr/bin"}, short_folder, user())


def test_what_cannot_be_read_is_left_to_the_kernel(short_folder: Path) -> None:
    check_interpreter(str(short_folder / "gone"), {}, short_folder, user())
    os.mkfifo(short_folder / "fifo")
    check_interpreter(str(short_folder / "fifo"), {}, short_folder, user())
