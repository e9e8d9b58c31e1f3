from __future__ import annotations

import pytest

from agentd.text.messages import MessageError, message_of
from agentd.tmux.key_names import NAMED, KeyNameError, key_name
from tests.cli.support import TmuxServer


def test_tmux_knows_every_name(agents_tmux: TmuxServer) -> None:
    agents_tmux.session("s", "exec cat")
    for name in [*NAMED, *(f"{modifier}{name}" for modifier in ("C-", "M-", "S-", "C-M-") for name in ("Up", "x"))]:
        agents_tmux("bind-key", "-T", "a-table", key_name(name), "display-message")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("enter", "Enter"),
        ("c-c", "C-c"),
        ("C-m-left", "C-M-Left"),
        ("^C", "C-c"),
        ("-", "-"),
        ("C--", "C--"),
        ("ü", "ü"),
    ],
)
def test_names_are_taken_in_any_case_and_characters_as_they_are(text: str, name: str) -> None:
    assert key_name(text) == name


@pytest.mark.parametrize("text", ["", "xy", "C-", "C-xy", "C-ü", "\n", "\x1b", "F13", "Mouse"])
def test_what_tmux_would_type_out_is_refused(text: str) -> None:
    with pytest.raises(KeyNameError, match="there is no key"):
        key_name(text)


def test_line_breaks_of_every_kind_become_one_and_those_at_the_end_go() -> None:
    message = message_of("a\r\nb\rc\n\td \n\r\n")
    assert (message.text, message.left_out, message.note) == ("a\nb\nc\n\td ", (), None)


def test_what_is_left_out_is_counted_by_kind() -> None:
    assert message_of("a\x00b\x00\x7f").note == "3 control characters were left out: U+0000, U+007F"
    assert message_of("a\x1b").note == "1 control character was left out: U+001B"


def test_undecodable_arguments_are_no_text() -> None:
    with pytest.raises(MessageError, match="UTF-8"):
        message_of("a\udcff")
