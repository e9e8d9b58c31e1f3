from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tmux.connection import ControlConnection
from agentd.tmux.syntax import command, literal, pane_target, quote, sequence, session_target
from tests.support.effort import examples
from tests.tmux.servers import client_command, tmux

# tmux takes no NUL, Python's text no lone surrogates; what is not UTF-8 no argument of ours can hold.
_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)
_SYNTAX = st.lists(
    st.sampled_from(
        [
            "'", '"', "\\", "$",
            "#", "~", ";", "{", "}", "%if", "\n", "\r", "\t", " ", "#{pid}", "#(date)", "#[", "##", "a",
            "$HOME", "~root", "ü", "\x1b", "\x01", "\x7f", "\u2028", "👍", "%end 1 2 1", "\\n", "\\;", "-",
        ]
    ), max_size=12,
).map("".join)  # fmt: skip


class Tmux:
    """A server that answers ordinary functions, for properties."""

    def __init__(self, socket: Path) -> None:
        self.runner = asyncio.Runner()
        self.connection = self.runner.run(ControlConnection.open(client_command(socket), lambda _: None))

    def run(self, *commands: str) -> list[tuple[str, ...]]:
        """Execute commands."""
        return self.runner.run(self.connection.run(*commands))

    def close(self) -> None:
        """End the server."""
        self.runner.run(self.connection.close())
        self.runner.close()


@pytest.fixture(scope="module")
def running(session_folder: Path) -> Iterator[Tmux]:
    socket = session_folder / "syntax"
    made = Tmux(socket)
    yield made
    made.close()
    tmux(socket, "kill-server")


@given(st.one_of(_TEXT, _SYNTAX))
@examples(25, 200)
def test_any_text_reaches_tmux_as_it_is(running: Tmux, text: str) -> None:
    shown = running.run(command("set-option", "-s", "@x", text), "show-options -sv @x")[1]
    # An option's line breaks end lines of the answer; a carriage return before one is taken for the line's end.
    assert "\n".join(shown).split("\n") == [line.removesuffix("\r") for line in text.split("\n")]


@given(st.lists(st.one_of(_TEXT, _SYNTAX), min_size=1, max_size=4))
def test_arguments_stay_apart(running: Tmux, words: list[str]) -> None:
    named = [(f"@w{number}", word) for number, word in enumerate(words)]
    running.run(*(command("set-option", "-s", name, word) for name, word in named))
    lengths = running.run(*(f"display-message -p '#{{n:{name}}}'" for name, _ in named))
    assert [int(line[0]) for line in lengths] == [len(word.encode()) for word in words]


@given(st.one_of(_TEXT, _SYNTAX).filter(lambda text: "\n" not in text and "\r" not in text))
@examples(25, 200)
def test_a_literal_is_what_it_was_after_tmux_expanded_it(running: Tmux, text: str) -> None:
    # set-option -F expands formats as new-session -s and -c do.
    shown = running.run(command("set-option", "-sF", "@y", literal(text)), "show-options -sv @y")[1]
    assert "".join(shown) == text


def test_what_holds_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


def test_targets_name_exactly_one_session() -> None:
    assert (session_target("abc"), pane_target("abc")) == ("=abc", "=abc:")


def test_a_sequence_is_one_line() -> None:
    assert sequence([command("a", "b\nc"), command("d")]) == "a 'b'\"\\n\"'c' ; d"
