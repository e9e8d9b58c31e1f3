from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.jcard.prompts import PromptError, prompt_files, read_prompt
from tests.jcard.loading import agents_of


def test_a_prompt_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "prompt.md"
    file.write_bytes(" \r\n\tDo  it: é☃\n\nnow\n \n".encode())
    assert read_prompt(file) == "Do  it: é☃\n\nnow"


def test_a_byte_order_mark_is_no_part_of_the_prompt(tmp_path: Path) -> None:
    file = tmp_path / "p.md"
    file.write_bytes(b"\xef\xbb\xbf do it\r\n")
    assert read_prompt(file) == "do it"


def test_symlinks_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    assert read_prompt(tmp_path / "link") == "x"


def test_what_no_argument_can_hold_is_left_to_the_launch(tmp_path: Path) -> None:
    file = tmp_path / "prompt"
    file.write_bytes(b"a\0b" + b"x" * 200_000)
    assert len(read_prompt(file)) == 200_003


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"prompt file /.*/nowhere: does not exist"):
        read_prompt(tmp_path / "nowhere")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="is a folder"):
        read_prompt(tmp_path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PromptError, match="is not a regular file"):
        read_prompt(tmp_path / "fifo")


def test_text_that_is_not_utf8_is_refused_without_repeating_it(tmp_path: Path) -> None:
    file = tmp_path / "prompt"
    file.write_bytes(b"abc\xff")
    with pytest.raises(PromptError, match=r"is not UTF-8 \(byte 4\)$"):
        read_prompt(file)


def test_a_file_far_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompt"
    file.write_bytes(b"")
    os.truncate(file, 2**40)
    with pytest.raises(PromptError, match="is larger than 1048576 bytes"):
        read_prompt(file)


def test_a_loop_of_symlinks_is_refused_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PromptError, match="symbolic links"):
        read_prompt(tmp_path / "loop")


def test_the_files_to_watch_are_collected_once_each() -> None:
    agents = agents_of(
        '[[agents]]\nharness = "codex"\nprompt_file = "a.md"\nreplicas = 2\n[[agents]]\nharness = "custom"\n'
        '[[agents]]\nname = "x"\nharness = "codex"\nprompt_file = "/b.md"\n'
    )
    assert prompt_files(agents) == {Path("/etc/stereos/a.md"), Path("/b.md")}
