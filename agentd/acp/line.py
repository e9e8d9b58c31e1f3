"""The line that a person types, and what keys do to it. Pure."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from agentd.text.terminal import width

LONGEST: Final = 1 << 20
"""Characters of a message that are taken."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Enter: the message is said."""

    text: str


@dataclass(frozen=True, slots=True)
class Choose:
    """A number and Enter, while something is asked: a message that begins with one is none."""

    number: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """C-c."""


@dataclass(frozen=True, slots=True)
class Leave:
    """C-d with nothing typed."""


Action: TypeAlias = Submit | Choose | Interrupt | Leave

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;:<=>?]*[ -/]*[@-~]|O[ -~]|[^\[O])", re.DOTALL)
_UNFINISHED: Final = re.compile(r"\x1b(?:\[[0-9;:<=>?]*[ -/]*|O)?\Z")
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
_BREAK: Final = "\N{RETURN SYMBOL}"


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@dataclass(slots=True)
class Line:
    """The line."""

    text: str = ""
    at: int = 0
    """Where the cursor is, in characters."""
    _unread: str = ""
    """The beginning of a key."""
    _pasting: bool = False
    _pasted: bool = False
    """Whether any of the text was pasted."""
    _decode: codecs.IncrementalDecoder = field(default_factory=_decoder)

    def feed(self, data: bytes, *, asked: bool) -> list[Action]:
        """Take what was typed.

        Parameters
        ----------
        asked
            Whether a number that is typed alone answers something; a pasted one never does.
        """
        typed, self._unread = self._unread + self._decode.decode(data), ""
        actions: list[Action] = []
        at = 0
        while at < len(typed):
            if self._pasting:
                at = self._paste(typed, at)
                continue
            if typed[at] != "\x1b":
                action = self._press(typed[at], asked=asked)
                if action is not None:
                    actions.append(action)
                at += 1
                continue
            found = _ESCAPE.match(typed, at)
            if found is None:
                self._unread = typed[at:] if _UNFINISHED.match(typed, at) else ""
                break
            self._sequence(found[0])
            at = found.end()
        return actions

    def _paste(self, typed: str, at: int) -> int:
        end = typed.find(_PASTE_ENDS, at)
        if end < 0:
            # The mark of its end may have come in part.
            keep = max(n for n in range(len(_PASTE_ENDS)) if typed.endswith(_PASTE_ENDS[:n]))
            self._insert(_clean(typed[at : len(typed) - keep]))
            self._unread = typed[len(typed) - keep :]
            return len(typed)
        self._insert(_clean(typed[at:end]))
        self._pasting = False
        return end + len(_PASTE_ENDS)

    def _press(self, key: str, *, asked: bool) -> Action | None:
        match key:
            case "\r":
                return self._enter(asked=asked)
            case "\x03":
                return Interrupt()
            case "\x04":
                return None if self.text else Leave()
            case _:
                self._edit(key)
                return None

    def _enter(self, *, asked: bool) -> Action | None:
        text, pasted = self.text, self._pasted
        self.text, self.at, self._pasted = "", 0, False
        if asked and not pasted and re.fullmatch(r"\s*[1-9]\s*", text, re.ASCII):
            return Choose(int(text))
        return Submit(text) if text.strip() else None

    def _edit(self, key: str) -> None:
        match key:
            case "\x7f" | "\x08":
                self._cut(max(0, self.at - 1), self.at)
            case "\x01":
                self.at = 0
            case "\x05":
                self.at = len(self.text)
            case "\x0b":
                self._cut(self.at, len(self.text))
            case "\x15":
                self._cut(0, self.at)
            case "\x17":
                self._cut(len(self.text[: self.at].rstrip().rpartition(" ")[0]), self.at)
            case _ if key >= " " or key == "\n":
                self._insert(key)
            case _:
                pass

    def _sequence(self, keys: str) -> None:
        match keys:
            case "\x1b[200~":
                self._pasting = self._pasted = True
            case "\x1b\r" | "\x1b\n":
                self._insert("\n")
            case "\x1b[D" | "\x1bOD":
                self.at = max(0, self.at - 1)
            case "\x1b[C" | "\x1bOC":
                self.at = min(len(self.text), self.at + 1)
            case "\x1b[H" | "\x1b[1~" | "\x1bOH":
                self.at = 0
            case "\x1b[F" | "\x1b[4~" | "\x1bOF":
                self.at = len(self.text)
            case "\x1b[3~":
                self._cut(self.at, self.at + 1)
            case _:
                pass

    def _insert(self, text: str) -> None:
        text = text[: max(0, LONGEST - len(self.text))]
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.at = start

    def shown(self, columns: int) -> tuple[str, int]:
        """Give what is shown of it in so many columns, and the cursor's column."""
        before = _one_row(self.text[max(0, self.at - columns) : self.at])
        while width(before) >= columns:
            before = before[1:]
        left = columns - width(before)
        after = _one_row(self.text[self.at : self.at + left])
        while width(after) > left:
            after = after[:-1]
        return before + after, width(before)


def _clean(pasted: str) -> str:
    """What a paste puts into the line: tmux sends its line breaks as Enter."""
    text = pasted.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(each for each in text if each >= " " or each in "\n\t")


def _one_row(text: str) -> str:
    return "".join(_BREAK if each == "\n" else each if each.isprintable() else " " for each in text)
