"""Edits of files: under a lock, as a whole, and never over what somebody else has just written."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.files.answering import within
from agentd.files.locks import LockedError, locked
from agentd.files.replacing import Replacement
from agentd.jcard.edit import file as edit_module
from agentd.jcard.edit.agents import add_agent, declared_agents, set_fields, stop_agent
from agentd.jcard.edit.file import FileEdit, FileEditError, edit_file
from tests.support.hung import hung

TEXT = '# the one\n[agent]\nname = "a"\nharness = "codex"\n'


@pytest.fixture
def jcard(tmp_path: Path) -> Path:
    path = tmp_path / "jcard.toml"
    path.write_text(TEXT)
    return path


def stop(path: Path, *, dry_run: bool = False) -> FileEdit:
    return edit_file(path, lambda text: stop_agent(text, "a"), limit=10**6, check=lambda _: None, dry_run=dry_run)


def add(path: Path) -> FileEdit:
    return edit_file(
        path, lambda text: add_agent(text, "b", {"harness": "codex"}), limit=10**6, check=lambda _: None, create=True
    )


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(jcard: Path) -> None:
    former = jcard.stat().st_ino
    outcome = stop(jcard)
    assert outcome.changed
    assert jcard.read_text() == outcome.after == TEXT + "enabled = false\n"
    assert outcome.content == jcard.read_bytes()
    assert jcard.stat().st_ino != former
    assert entries(jcard.parent) == ["jcard.toml"]


@pytest.mark.parametrize("moment", ["the edit", "the check", "the lock", "the last look"])
def test_a_file_that_begins_to_hang_meanwhile_is_said_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "folder/jcard.toml"
    path.parent.mkdir()
    path.write_text(TEXT)
    with contextlib.ExitStack() as stack:

        def at(this: str) -> None:
            if this == moment:
                stack.enter_context(hung(path.parent))

        def edit(text: str) -> str:
            at("the edit")
            return stop_agent(text, "a")

        @contextlib.contextmanager
        def lock(file: Path) -> Iterator[None]:
            with locked(file):
                at("the lock")
                yield

        def new(file: Path, content: bytes) -> Replacement:
            made = Replacement(file, content)
            at("the last look")
            return made

        monkeypatch.setattr(edit_module, "within", lambda path, job, _=0.0: within(path, job, 0.3))
        monkeypatch.setattr(edit_module, "locked", lock)
        monkeypatch.setattr(edit_module, "Replacement", new)
        with pytest.raises(FileEditError, match=f"{path.parent} does not answer"):
            edit_file(path, edit, limit=10**6, check=lambda _: at("the check"))
    assert path.read_text() == TEXT


def test_what_a_killed_edit_left_goes_with_the_next_one(jcard: Path) -> None:
    Replacement(jcard, b"half an edit")
    lock = jcard.with_name(f".{jcard.name}.lock")
    lock.touch()
    assert len(entries(jcard.parent)) == len(["it", "its replacement", "its lock"])
    stop(jcard)
    assert entries(jcard.parent) == ["jcard.toml"]


def written(path: Path) -> tuple[int, int, int, int]:
    """Which file it is, and when it was written; when it was read, which is no change, is not in it."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_nothing_is_written_for_a_dry_run_or_for_no_change(jcard: Path) -> None:
    before = written(jcard)
    assert stop(jcard, dry_run=True).changed
    assert not edit_file(jcard, lambda text: text, limit=10**6, check=lambda _: None).changed
    assert written(jcard) == before


def test_what_is_refused_is_not_written(jcard: Path) -> None:
    def refuse(content: bytes | None) -> None:
        assert content == (TEXT + "enabled = false\n").encode()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        edit_file(jcard, lambda text: stop_agent(text, "a"), limit=10**6, check=refuse)
    assert jcard.read_text() == TEXT
    assert entries(jcard.parent) == ["jcard.toml"]


def test_owner_group_mode_and_attributes_stay(jcard: Path) -> None:
    if os.geteuid() == 0:
        os.chown(jcard, 1234, 4321)
    jcard.chmod(0o604)
    with contextlib.suppress(OSError):  # not every file system has them
        os.setxattr(jcard, "user.note", b"kept")
    before = jcard.stat()
    attributes = {name: os.getxattr(jcard, name) for name in os.listxattr(jcard)}
    stop(jcard)
    after = jcard.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert {name: os.getxattr(jcard, name) for name in os.listxattr(jcard)} == attributes


def test_a_symlinked_file_is_edited_where_it_is(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "agents.toml"
    real.parent.mkdir()
    real.write_text(TEXT)
    link = tmp_path / "jcard.toml"
    link.symlink_to("dotfiles/agents.toml")
    outcome = stop(link)
    assert outcome.file == real
    assert link.is_symlink()
    assert "enabled = false" in real.read_text()
    assert entries(real.parent) == ["agents.toml"]


def test_a_byte_order_mark_stays(jcard: Path) -> None:
    jcard.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    stop(jcard)
    assert jcard.read_bytes() == b"\xef\xbb\xbf" + TEXT.encode() + b"enabled = false\n"


def test_a_new_file_is_made_with_its_folder_for_the_operators_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "agentd" / "jcard.toml"
    add(path)
    assert path.read_text() == '[[agents]]\nname = "b"\nharness = "codex"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_empty_file_is_begun(jcard: Path) -> None:
    jcard.write_text("")
    add(jcard)
    assert list(declared_agents(jcard.read_text())) == ["b"]


def test_a_missing_file_is_nothing_that_other_edits_begin(tmp_path: Path) -> None:
    with pytest.raises(FileEditError, match="there is no such file: agentctl add begins one"):
        stop(tmp_path / "none" / "jcard.toml")
    assert entries(tmp_path) == []


def test_a_file_that_is_no_toml_is_refused_with_the_place(jcard: Path) -> None:
    jcard.write_text("[agent]\nname = reviewer\n")
    with pytest.raises(FileEditError, match=r"jcard\.toml:2:8: not valid TOML"):
        stop(jcard)


def test_a_file_that_changed_meanwhile_is_read_again(jcard: Path) -> None:
    calls = []

    def edit(text: str) -> str:
        calls.append(text)
        if len(calls) < 3:  # once before there is a lock, and once by somebody who takes none
            jcard.write_text(text.replace("# ", "# not "))
        return stop_agent(text, "a")

    edit_file(jcard, edit, limit=10**6, check=lambda _: None)
    assert jcard.read_text() == TEXT.replace("# ", "# not not ") + "enabled = false\n"
    assert len(calls) == 3
    assert entries(jcard.parent) == ["jcard.toml"]


def test_a_file_that_keeps_changing_is_left_alone(jcard: Path) -> None:
    def edit(text: str) -> str:
        jcard.write_text(text + "#\n")
        return stop_agent(text, "a")

    with pytest.raises(FileEditError, match="another program keeps writing it"):
        edit_file(jcard, edit, limit=10**6, check=lambda _: None)
    assert "enabled" not in jcard.read_text()


def test_a_read_only_file_says_where_the_setting_may_live(jcard: Path) -> None:
    jcard.chmod(0o444)
    with pytest.raises(FileEditError, match=r"is read-only \(mode 0444\).*services\.agentd\.settings"):
        stop(jcard)
    assert jcard.read_text() == TEXT


def test_a_file_of_the_nix_store_says_where_the_setting_lives(tmp_path: Path) -> None:
    path = tmp_path / "jcard.toml"
    path.symlink_to("/nix/store/0123-jcard.toml")
    with pytest.raises(FileEditError, match=r"in the Nix store.*change services\.agentd\.settings.*rebuild"):
        add(path)
    with pytest.raises(FileEditError, match="in the Nix store"):
        stop(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(jcard: Path) -> None:
    jcard.parent.chmod(0o555)
    with pytest.raises(FileEditError, match="cannot be written in"):
        stop(jcard)
    jcard.parent.chmod(0o755)


def test_symlinks_in_a_circle_are_told(tmp_path: Path) -> None:
    path = tmp_path / "jcard.toml"
    path.symlink_to(path)
    with pytest.raises(FileEditError, match=r"jcard\.toml"):
        stop(path)


def test_a_lock_that_is_not_given_up_is_named(jcard: Path) -> None:
    with locked(jcard), pytest.raises(LockedError, match=r"\.jcard\.toml\.lock"), locked(jcard, patience=0.05):
        pass
    with locked(jcard):
        pass
    assert entries(jcard.parent) == ["jcard.toml"]


WRITER = """
import sys
from pathlib import Path
from agentd.jcard.edit.agents import set_fields
from agentd.jcard.edit.file import edit_file
path, writer = Path(sys.argv[1]), sys.argv[2]
for number in range(10):
    field = {("env", f"V_{writer}_{number}"): "x"}
    edit_file(path, lambda text: set_fields(text, "a", field), limit=10**6, check=lambda _: None)
"""


@pytest.mark.thorough
def test_many_writers_at_once_lose_no_edit(jcard: Path) -> None:
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.001):
            seen.add(jcard.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, jcard, str(writer)]) for writer in range(4)]
        assert [writer.wait(60) for writer in writers] == [0] * 4
    finally:
        over.set()
        reader.join()
    text = jcard.read_text()
    assert all(f"env.V_{writer}_{number} =" in text for writer in range(4) for number in range(10))
    assert set_fields(text, "a", {("env", "V_0_0"): "x"}) == text
    # Whoever reads meanwhile sees some whole state.
    assert all(content.startswith(TEXT.encode()) and content.endswith(b"\n") for content in seen)
    assert entries(jcard.parent) == ["jcard.toml"]
