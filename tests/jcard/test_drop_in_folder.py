"""Which files of the folder are drop-ins, and what is read of them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agentd.files.answering import along
from agentd.jcard.drop_in_folder import DropIns, FolderIdentity, look_at_drop_ins
from agentd.jcard.reading import declared
from tests.jcard.loading import CONTEXT

AGENT = '[agent]\nname = "x"\nharness = "codex"\n'


def look(folder: Path, before: DropIns | None = None) -> DropIns:
    return along(partial(look_at_drop_ins, folder, before or DropIns()))


def write(path: Path, text: str = AGENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def age(path: Path, seconds: float = 60.0) -> None:
    """Have a file changed so long ago: only its ctime cannot be set."""
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def found(folder: Path, before: DropIns | None = None) -> dict[str, tuple[str | None, str | None]]:
    files = look(folder, before).files
    return {str(path.relative_to(folder)): (file.owner, file.unavailable) for path, file in files.items()}


def test_the_folder_and_its_direct_subfolders_are_looked_at_by_path(tmp_path: Path) -> None:
    for name in ("b.toml", "a.toml", "team/z.toml", "team/deeper/no.toml", "a/x.toml"):
        write(tmp_path / name)
    assert list(found(tmp_path).items()) == [
        ("a.toml", (None, None)),
        ("a/x.toml", ("a", None)),
        ("b.toml", (None, None)),
        ("team/z.toml", ("team", None)),
    ]


def test_hidden_files_and_folders_and_other_names_are_not_looked_at(tmp_path: Path) -> None:
    for name in (".a.toml", ".git/a.toml", "team/.b.toml", "a.toml~", "README", "x.toml.tmp", "a.json"):
        write(tmp_path / name)
    assert found(tmp_path) == {}


def test_what_is_not_named_in_utf8_is_refused_and_not_watched(tmp_path: Path) -> None:
    # Its launch could not be written down, and to watch it ended the watching of all other files.
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/team\xff"))
    for path in (Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xfe.toml")), folder / "b.toml", tmp_path / "c.toml"):
        write(path)
    looked = look(tmp_path)
    refused = {path.name for path, file in looked.files.items() if file.unavailable is not None}
    assert refused == {"a\udcfe.toml", "b.toml"}
    assert looked.files[tmp_path / "c.toml"].data
    assert looked.folders == (tmp_path,)


def test_symlinks_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/x.toml")
    write(tmp_path / "shared/y.toml")
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "x.toml").symlink_to("../elsewhere/x.toml")
    (folder / "team").symlink_to("../shared")
    assert found(folder) == {"team/y.toml": ("team", None), "x.toml": (None, None)}


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    write(tmp_path / "empty.toml", "")
    (tmp_path / "nowhere.toml").symlink_to("missing")
    os.mkfifo(tmp_path / "pipe.toml")
    assert found(tmp_path) == {
        "empty.toml": (None, "it is empty (zero bytes), which counts as being written"),
        "nowhere.toml": (None, "it is a symlink that leads nowhere"),
        "pipe.toml": (None, "it cannot be read: is not a regular file"),
    }


def test_a_missing_folder_holds_nothing_at_first_and_what_it_held_later(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    assert look(folder) == DropIns(folders=(folder,))
    write(folder / "team/x.toml")
    before = look(folder)
    folder.rename(tmp_path / "away")
    again = look(folder, before)
    assert again.files == before.files
    assert again.unlisted == {folder: "it is missing"}
    assert look(folder, again) == again
    (tmp_path / "away").rename(folder)
    assert look(folder, again) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_holds_what_it_held(tmp_path: Path) -> None:
    write(tmp_path / "team/x.toml")
    write(tmp_path / "other/y.toml")
    before = look(tmp_path)
    (tmp_path / "team").chmod(0)
    try:
        again = look(tmp_path, before)
    finally:
        (tmp_path / "team").chmod(0o700)
    assert again.files == before.files
    assert again.unlisted == {tmp_path / "team": "it cannot be listed: Permission denied"}


def test_a_removed_subfolder_holds_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "team/x.toml")
    write(tmp_path / "y.toml")
    before = look(tmp_path)
    path.unlink()
    path.parent.rmdir()
    assert list(look(tmp_path, before).files) == [tmp_path / "y.toml"]


def test_a_subfolder_whose_symlink_leads_nowhere_holds_what_it_held(tmp_path: Path) -> None:
    write(tmp_path / "shared/y.toml")
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "team").symlink_to("../shared")
    before = look(folder)
    (tmp_path / "shared").rename(tmp_path / "away")
    again = look(folder, before)
    assert again.files == before.files
    assert again.unlisted == {folder / "team": "it is missing"}


@pytest.mark.parametrize("place", ["", "team"])
def test_an_empty_folder_on_another_file_system_was_unmounted(tmp_path: Path, place: str) -> None:
    path = write(tmp_path / place / "x.toml")
    before = look(tmp_path)
    path.unlink()
    elsewhere = replace(before, identities={each: FolderIdentity(1, 1) for each in before.identities})
    again = look(tmp_path, elsewhere)
    assert again.files == before.files
    assert list(again.unlisted) == [path.parent]
    assert look(tmp_path, before).files == {}


def test_only_a_file_whose_stamp_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml")
    before = look(tmp_path)
    kept = replace(before.files[path], fresh=False, data=b"kept")
    assert look(tmp_path, replace(before, files={path: kept})).files[path] is kept
    age(path)
    assert look(tmp_path, replace(before, files={path: kept})).files[path].data == AGENT.encode()


def test_a_file_that_has_just_changed_is_read_again_whatever_its_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml")
    before = look(tmp_path)
    assert before.files[path].fresh
    stale = replace(before.files[path], data=b"stale")
    assert look(tmp_path, replace(before, files={path: stale})).files[path].data == AGENT.encode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("place", ["", "team"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_an_unmounted_folder_holds_what_it_held(tmp_path: Path, place: str, kind: str) -> None:
    other, folder = tmp_path / "other", tmp_path / "d"
    point = folder / place
    other.mkdir()
    point.mkdir(parents=True)
    options = ["--bind", str(other)] if kind == "bind" else ["-t", "tmpfs", "none"]
    subprocess.run(["mount", *options, str(point)], check=True)
    try:
        write(point / "x.toml")
        before = look(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
    again = look(folder, before)
    assert again.files == before.files
    assert list(again.unlisted) == [point]
    write(folder / "here.toml")
    assert (point / "x.toml" in look(folder, again).files) == (place == "team")


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root are files of others refused")
class TestAsRoot:
    @pytest.mark.parametrize(
        ("uid", "gid", "mode", "reason"),
        [
            (1, 0, 0o644, "is owned by user daemon"),
            (0, 1, 0o664, "may be written by group daemon"),
            (0, 0, 0o646, "may be written by everybody"),
            (64000, 0, 0o400, "is owned by user 64000"),
        ],
    )
    def test_a_file_that_others_may_write_is_refused(
        self, tmp_path: Path, uid: int, gid: int, mode: int, reason: str
    ) -> None:
        path = write(tmp_path / "x.toml")
        os.chown(path, uid, gid)
        path.chmod(mode)
        file = look(tmp_path).files[path]
        assert file.data is None
        assert file.unavailable == (
            f"refused, since agentd runs as root: it {reason}; chown it to root and chmod it go-w"
        )

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
    def test_a_file_that_only_root_may_write_is_taken(self, tmp_path: Path, mode: int) -> None:
        path = write(tmp_path / "x.toml")
        path.chmod(mode)
        assert look(tmp_path).files[path].data == AGENT.encode()

    @pytest.mark.parametrize("place", ["", "team"])
    def test_a_folder_that_others_may_write_has_its_files_refused(self, tmp_path: Path, place: str) -> None:
        path = write(tmp_path / place / "x.toml")
        path.parent.chmod(0o777)
        assert f"{path.parent} may be written by everybody" in str(look(tmp_path).files[path].unavailable)
        path.parent.chmod(0o755)
        assert look(tmp_path, look(tmp_path)).files[path].data == AGENT.encode()

    def test_on_a_read_only_mount_the_bits_of_others_count_for_nothing(self, tmp_path: Path) -> None:
        """As of a ConfigMap: its folder has mode 0777, its files lie behind symlinks."""
        path = write(tmp_path / "..data/x.toml")
        path.parent.rename(tmp_path / "..1")
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "x.toml").symlink_to("..data/x.toml")
        tmp_path.chmod(0o777)
        assert look(tmp_path).files[tmp_path / "x.toml"].data is None
        subprocess.run(["mount", "--bind", str(tmp_path), str(tmp_path)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(tmp_path)], check=True)
            assert look(tmp_path).files[tmp_path / "x.toml"].data == AGENT.encode()
        finally:
            subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)

    def test_in_a_sticky_folder_only_what_is_root_s_counts(self, tmp_path: Path) -> None:
        mine, other = write(tmp_path / "x.toml"), write(tmp_path / "y.toml")
        tmp_path.chmod(0o1777)
        os.chown(other, 1, 1)
        files = look(tmp_path).files
        assert [files[mine].unavailable, files[other].data] == [None, None]

    def test_a_symlink_through_what_others_may_change_is_refused(self, tmp_path: Path) -> None:
        theirs, folder = tmp_path / "theirs", tmp_path / "d"
        write(theirs / "x.toml")
        os.chown(theirs, 1, 1)
        folder.mkdir()
        (folder / "x.toml").symlink_to(theirs / "x.toml")
        assert f"{theirs} is owned by user daemon" in str(look(folder).files[folder / "x.toml"].unavailable)


def test_the_jcard_and_its_drop_ins_are_read_together(tmp_path: Path) -> None:
    config = write(tmp_path / "jcard.toml")
    write(tmp_path / "jcard.d/team/y.toml", '[agent]\nname = "y"\nharness = "codex"\nworkdir = "w"\n')
    write(tmp_path / "jcard.d/z.toml")
    files, folder = declared(config, tmp_path / "jcard.d", replace(CONTEXT, folder=tmp_path))
    assert [(file.path.name, file.valid, [spec.name for spec in file.agents]) for file in files] == [
        ("jcard.toml", True, ["x"]),
        ("y.toml", True, ["y"]),
        ("z.toml", False, []),
    ]
    assert files[1].agents[0].workdir == tmp_path / "jcard.d/team/w"
    assert folder.unlisted == {}


def test_drop_ins_need_no_jcard(tmp_path: Path) -> None:
    write(tmp_path / "jcard.d/y.toml")
    files, _ = declared(tmp_path / "jcard.toml", tmp_path / "jcard.d", CONTEXT)
    assert [(file.valid, len(file.agents)) for file in files] == [(False, 0), (True, 1)]
