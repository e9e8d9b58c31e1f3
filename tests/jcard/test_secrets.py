from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.secrets import Secrets, missing_secrets, read_secret, secret_paths, secrets_for, secrets_of
from tests.jcard.loading import agent_of, agents_of
from tests.support.printed import harmless

VALUE = "s3cr3t-Value"


def read_secrets(folder: Path) -> Secrets:
    paths = secret_paths(folder)
    return paths if isinstance(paths, Secrets) else secrets_of({path: read_secret(path) for path in paths})


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def only_warning(secrets: Secrets) -> str:
    assert dict(secrets.values) == {}
    [warning] = secrets.warnings
    assert VALUE not in warning
    return warning


def test_each_file_is_a_secret_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, TOKEN=VALUE, _x2="two words é", EMPTY="")
    assert read_secrets(tmp_path) == Secrets({"TOKEN": VALUE, "_x2": "two words é", "EMPTY": ""}, ())


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\r\n\n", "a"),
        ("\n", ""),
        ("\r\n", ""),
        ("a\r", "a\r"),
        ("a\r\r\n", "a\r"),
        ("\na b \n", "\na b "),
        ("a\nb\n", "a\nb"),
        ("\ufeffa\n", "a"),
        ("\ufeff\ufeffa", "\ufeffa"),
        ("a\ufeff", "a\ufeff"),
    ],
)
def test_trailing_newlines_and_a_byte_order_mark_are_trimmed_and_nothing_else(
    tmp_path: Path, content: str, value: str
) -> None:
    write(tmp_path, A=content)
    assert read_secrets(tmp_path).values["A"] == value


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_what_precedes_the_trailing_newlines_is_kept(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), A=text)
        value = read_secrets(Path(folder)).values["A"]
    text = text.removeprefix("\ufeff")
    assert text.startswith(value)
    assert not value.endswith("\n")
    assert text[len(value) :].replace("\r\n", "\n").strip("\n") == ""


def test_a_missing_directory_is_no_secrets(tmp_path: Path) -> None:
    assert read_secrets(tmp_path / "nowhere") == Secrets()


def test_a_directory_that_is_a_file_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, file="x")
    assert only_warning(read_secrets(tmp_path / "file")).endswith("no secrets are used")


def test_hidden_files_and_folders_are_skipped_silently(tmp_path: Path) -> None:
    write(tmp_path, **{".hidden": "x", "A": "1"})
    (tmp_path / "folder").mkdir()
    (tmp_path / "not-a-variable").mkdir()
    (tmp_path / "LINK").symlink_to("folder")
    assert read_secrets(tmp_path) == Secrets({"A": "1"}, ())


def test_a_kubernetes_mount_is_read_through_its_symlinks(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_31").mkdir()
    write(tmp_path / "..2026_01_31", TOKEN=VALUE)
    (tmp_path / "..data").symlink_to("..2026_01_31")
    (tmp_path / "TOKEN").symlink_to("..data/TOKEN")
    assert read_secrets(tmp_path) == Secrets({"TOKEN": VALUE}, ())


@pytest.mark.parametrize("name", ["a-b", "1A", "A B", "A.txt", "é", "A=B", "A\nB", "A~"])
def test_a_file_whose_name_is_no_variable_is_skipped_with_a_warning(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: VALUE})
    warning = only_warning(read_secrets(tmp_path))
    assert "its name is no environment variable name" in warning
    assert harmless(warning)


def test_a_file_whose_name_is_not_utf8_is_skipped_with_a_warning(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text(VALUE)
    assert only_warning(read_secrets(tmp_path)).isprintable()


def test_names_that_belong_to_agentd_are_skipped_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, AGENTD_TOKEN=VALUE)
    assert "names that begin with AGENTD_ belong to agentd" in only_warning(read_secrets(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (VALUE.encode() + b"\xff", "not UTF-8 (byte 13)"),
        (VALUE.encode() + b"\0", "it contains a NUL character"),
        (VALUE.encode() * 11_000, "larger than the 128 KiB"),
        (VALUE.encode() * 50_000, "is larger than 262144 bytes"),
    ],
)
def test_content_that_no_variable_can_hold_is_skipped_with_a_warning(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    write(tmp_path, TOKEN=content)
    assert only_warning(read_secrets(tmp_path)) == f"secret file {tmp_path}/TOKEN skipped: {reason}" + (
        " that one environment variable can hold" if "KiB" in reason else ""
    )


def test_the_largest_secret_that_a_program_can_receive_is_accepted(tmp_path: Path) -> None:
    room = 128 * 1024 - len("A=\0")
    write(tmp_path, A="x" * room + "\n")
    values = dict(read_secrets(tmp_path).values)
    assert len(values["A"]) == room
    subprocess.run(["true"], env=values, check=True)
    write(tmp_path, A="x" * (room + 1))
    only_warning(read_secrets(tmp_path))
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["true"], env={"A": "x" * (room + 1)}, check=True)


def test_fifos_sockets_and_devices_are_skipped_without_touching_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "FIFO")
    (tmp_path / "ZERO").symlink_to("/dev/zero")
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"{short}/s")
        (tmp_path / "SOCKET").symlink_to(f"{short}/s")
        secrets = read_secrets(tmp_path)
    assert secrets.values == {}
    assert [warning.rpartition(": ")[2] for warning in secrets.warnings] == ["is not a regular file"] * 3


def test_a_symlink_that_leads_nowhere_is_skipped_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "A").symlink_to("nowhere")
    assert only_warning(read_secrets(tmp_path)).endswith("/A skipped: No such file or directory")


def test_one_bad_file_does_not_spoil_the_others(tmp_path: Path) -> None:
    write(tmp_path, A="1", **{"bad-name": VALUE}, C="3")
    secrets = read_secrets(tmp_path)
    assert dict(secrets.values) == {"A": "1", "C": "3"}
    assert len(secrets.warnings) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for path in folder.iterdir():
        if not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


READ = """
import json, pathlib, sys
from agentd.jcard.secrets import read_secret, secret_paths, secrets_of
if (uid := int(sys.argv[2])):
    import os
    os.setgid(uid)
    os.setuid(uid)
paths = secret_paths(pathlib.Path(sys.argv[1]))
secrets = secrets_of({path: read_secret(path) for path in paths}) if isinstance(paths, list) else paths
print(json.dumps([dict(secrets.values), secrets.warnings]))
"""


def read_as_nobody(folder: Path) -> list[object]:
    """Read as a user whom permissions stop: root is stopped by none."""
    uid = "65534" if os.getuid() == 0 else "0"
    run = subprocess.run([sys.executable, "-c", READ, str(folder), uid], capture_output=True, text=True, check=True)
    result: list[object] = json.loads(run.stdout)
    return result


def test_unreadable_files_are_skipped_with_a_warning(open_folder: Path) -> None:
    write(open_folder, A="1", B=VALUE)
    (open_folder / "B").chmod(0)
    assert read_as_nobody(open_folder) == [{"A": "1"}, [f"secret file {open_folder}/B skipped: Permission denied"]]


def test_an_unreadable_directory_is_a_warning(open_folder: Path) -> None:
    inner = open_folder / "inner"
    inner.mkdir(mode=0)
    assert read_as_nobody(inner) == [{}, [f"secret directory {inner}: Permission denied; no secrets are used"]]


def test_a_symlink_into_an_unreadable_folder_is_skipped_with_a_warning(open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0)
    (open_folder / "A").symlink_to("closed/A")
    assert read_as_nobody(open_folder) == [{}, [f"secret file {open_folder}/A skipped: Permission denied"]]


def test_values_stay_out_of_the_repr_and_cannot_be_changed(tmp_path: Path) -> None:
    write(tmp_path, A=VALUE)
    secrets = read_secrets(tmp_path)
    assert VALUE not in repr(secrets)
    with pytest.raises(TypeError):
        secrets.values["A"] = "other"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        secrets.values = {}  # type: ignore[misc]


SECRETS = Secrets({"A": "1", "B": "2"})


@pytest.mark.parametrize(
    ("listed", "received"),
    [
        ("", {"A": "1", "B": "2"}),
        ("secrets = []", {}),
        ('secrets = ["B"]', {"B": "2"}),
        ('secrets = ["C", "A"]', {"A": "1"}),
    ],
)
def test_an_agent_receives_all_secrets_or_those_it_lists(listed: str, received: dict[str, str]) -> None:
    assert dict(secrets_for(agent_of(listed), SECRETS)) == received


@pytest.mark.parametrize(
    ("listed", "keys", "missing"),
    [
        (["A", "K", "L"], ["A", "K", "L"], []),
        (["K", "L", "M"], ["K", "L"], ["K", "M"]),
        (["K"], ["K", "L"], ["K"]),
        (["A", "K"], ["A"], ["K"]),
    ],
)
def test_of_the_keys_of_a_harness_one_is_enough(listed: list[str], keys: list[str], missing: list[str]) -> None:
    said = missing_secrets([agent_of(f"secrets = {json.dumps(listed)}")], SECRETS, lambda _: keys)
    assert [text.split('"')[1] for text in said] == missing


def test_listed_secrets_that_do_not_exist_are_warned_of_once_each() -> None:
    agents = agents_of(
        '[[agents]]\nname = "r"\nharness = "codex"\nreplicas = 5\nsecrets = ["A", "TOKEN"]\n'
        '[[agents]]\nname = "x"\nharness = "codex"\nsecrets = ["C"]\n[[agents]]\nharness = "codex"\n'
        '[[agents]]\nname = "off"\nharness = "codex"\nenabled = false\nsecrets = ["D"]\n'
    )
    assert missing_secrets(agents, SECRETS) == (
        'secret "C" does not exist; listed by agent "x"',
        'secret "TOKEN" does not exist; listed by agent "r-0", "r-1", "r-2" and 2 more',
    )
