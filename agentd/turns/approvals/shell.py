"""What a shell would execute of a line, as far as that can be known before it does. Pure.

Only a list of plain commands is understood for certain: words, quotes, and ``;``, ``&&``, ``||``, ``|`` and line breaks
between commands. Whatever else a shell does is a doubt, which keeps a line from being allowed: expansions,
redirections, subshells, variables, patterns of file names, comments, reserved words. A reading goes on behind a doubt,
since a denied command may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

LONGEST: Final = 65536
"""Characters of a line that is read."""

SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_PLACES: Final = frozenset({"", "/bin", "/usr/bin"})
"""Where a shell is one: another file of that name may be anything."""
_RUN_LINE: Final = frozenset({"-c", "-lc"})
_WRAPPED_WORDS: Final = 3

_RESERVED: Final = frozenset(
    {
        "!", "{", "}", "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in",
        "function", "select", "time", "coproc",
    }
)  # fmt: skip
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(\[.*\])?\+?=", re.DOTALL)
_MEANINGS: Final = {
    "$": "an expansion ($)",
    "`": "an expansion (`)",
    "<": "a redirection (<)",
    ">": "a redirection (>)",
    "(": "a subshell or function",
    ")": "a subshell or function",
    "*": "a pattern of file names (*)",
    "?": "a pattern of file names (?)",
    "[": "a pattern of file names ([)",
    "{": "braces",
    "}": "braces",
    "~": "a home folder (~)",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a line."""

    words: tuple[str | None, ...]
    """As the program gets them; ``None`` is a word that only the shell knows."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a line was read as."""

    commands: tuple[Command, ...]
    doubt: str | None = None
    """The first reason why it may do more, or something else."""


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    commands: list[Command] = field(default_factory=list)
    doubt: str | None = None
    _words: list[str | None] = field(default_factory=list)
    _word: list[str] | None = None
    _known: bool = True

    def read(self) -> Script:
        while self.at < len(self.text):
            self._step()
        self._end_command()
        return Script(tuple(self.commands), self.doubt)

    def _step(self) -> None:
        sign, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
        self.at += 1
        if sign in " \t":
            self._end_word()
        elif sign in "\n;":
            self._end_command()
        elif sign in "&|":
            self._between(sign, following)
        elif sign in "<>":
            self._doubt(_MEANINGS[sign])
            self._end_word()
        elif sign in "()":
            self._doubt(_MEANINGS[sign])
            self._end_command()
        else:
            self._in_word(sign, following)

    def _in_word(self, sign: str, following: str) -> None:
        begins = self._word is None
        if sign == "'":
            self._quoted()
        elif sign == '"':
            self._double_quoted()
        elif sign == "\\":
            self._escaped(following)
        elif sign == "#" and begins:
            self._doubt("a comment")
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
        elif sign in _MEANINGS or (sign == "=" and begins):
            self._unknown(_MEANINGS.get(sign, "an expansion (=)"))
        else:
            self._add(sign)

    def _between(self, sign: str, following: str) -> None:
        if following == sign:
            self.at += 1
        elif sign == "&":
            self._doubt("a command in the background (&)")
        elif following == "&":
            self._doubt("a redirection (|&)")
            self.at += 1
        self._end_command()

    def _quoted(self) -> None:
        end = self.text.find("'", self.at)
        if end < 0:
            self._doubt("a quote that does not end")
            end = len(self.text)
        self._add(self.text[self.at : end])
        self.at = end + 1

    def _double_quoted(self) -> None:
        self._add("")
        while self.at < len(self.text):
            sign = self.text[self.at]
            self.at += 1
            if sign == '"':
                return
            if sign == "\\" and self.text[self.at : self.at + 1] in tuple('$`"\\'):
                self._add(self.text[self.at])
                self.at += 1
            elif sign == "\\" and self.text[self.at : self.at + 1] == "\n":
                self._doubt("a line that goes on")
                self.at += 1
            elif sign in "$`":
                self._unknown(_MEANINGS[sign])
            else:
                self._add(sign)
        self._doubt("a quote that does not end")

    def _escaped(self, following: str) -> None:
        self.at += 1
        if following in ("", "\n"):
            self._doubt("a line that goes on")
        else:
            self._add(following)

    def _add(self, text: str) -> None:
        odd = next((each for each in text if not each.isprintable() and each not in "\t\n"), None)
        if odd is not None:
            self._doubt(f"a character that cannot be seen (U+{ord(odd):04X})")
        if self._word is None:
            self._word = []
        self._word.append(text)

    def _unknown(self, why: str) -> None:
        self._doubt(why)
        self._add("")
        self._known = False

    def _doubt(self, why: str) -> None:
        self.doubt = self.doubt or why

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append("".join(self._word) if self._known else None)
        self._word, self._known = None, True

    def _end_command(self) -> None:
        self._end_word()
        if self._words:
            first = self._words[0]
            if first in _RESERVED:
                self._doubt(f"a reserved word ({first})")
            elif first is not None and _ASSIGNMENT.match(first):
                self._doubt("a variable that is set (=)")
            self.commands.append(Command(tuple(self._words)))
        self._words = []


def read_line(line: str) -> Script:
    """Read a line that is handed to a shell."""
    if len(line) > LONGEST:
        return Script((), f"a line of more than {LONGEST} characters")
    return _unwrapped(_Reader(line).read())


def read_words(words: Sequence[str]) -> Script:
    """Read a command that is executed as it is."""
    return _unwrapped(Script((Command(tuple(words)),) if words else ()))


def _unwrapped(script: Script) -> Script:
    """Read what ``bash -lc LINE`` executes: some agents write each command so."""
    if script.doubt is not None or len(script.commands) != 1:
        return script
    words = script.commands[0].words
    if len(words) != _WRAPPED_WORDS or words[0] is None or words[1] not in _RUN_LINE or words[2] is None:
        return script
    place, _, name = words[0].rpartition("/")
    if name not in SHELLS or place not in _PLACES:
        return script
    if len(words[2]) > LONGEST:
        return Script((), f"a line of more than {LONGEST} characters")
    return _Reader(words[2]).read()
