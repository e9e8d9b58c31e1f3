"""The text of a message: what of it can be typed into a terminal, and what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from unicodedata import category

LARGEST = 1024 * 1024
"""Bytes; pasting 100 KiB takes claude, codex and opencode under a second."""

_KEPT = "\n\t"
_SHOWN = 4


class MessageError(ValueError):
    """Text that cannot be sent; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """What will be typed."""

    text: str
    left_out: tuple[str, ...]
    """Each control character that was taken out of the text, as often as it stood there."""

    @property
    def note(self) -> str | None:
        """Say what was left out."""
        if not self.left_out:
            return None
        kinds = Counter(self.left_out)
        shown = ", ".join(f"U+{ord(kind):04X}" for kind in list(kinds)[:_SHOWN])
        more = ", …" if len(kinds) > _SHOWN else ""
        noun = "control character was" if len(self.left_out) == 1 else "control characters were"
        return f"{len(self.left_out)} {noun} left out: {shown}{more}"


def message_of(text: str) -> Message:
    """Take out what a terminal would act on, and the line breaks at the end, which Enter stands for.

    Raises
    ------
    MessageError
        If nothing is left, it is too large, or it is no text.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    left_out = tuple(each for each in lines if category(each) == "Cc" and each not in _KEPT)
    kept = lines.translate(dict.fromkeys(map(ord, left_out))).rstrip("\n")
    if not kept.strip():
        but = " but control characters, which are left out" if left_out else ""
        raise MessageError(f"there is nothing to send{but}; to press Enter alone, use agentctl keys NAME Enter")
    try:
        size = len(kept.encode())
    except UnicodeEncodeError:
        raise MessageError("expected text in UTF-8, found bytes that are none; send a file's name instead") from None
    if size > LARGEST:
        raise MessageError(
            f"the text has {size} bytes, a terminal is given at most {LARGEST}:"
            " write it to a file that the agent can read, and send the file's name"
        )
    return Message(kept, left_out)
