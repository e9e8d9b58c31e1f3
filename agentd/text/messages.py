"""Make a message fit for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 1024 * 1024
"""Largest message, in bytes; claude, codex and opencode take 100 KiB in under a second."""

LARGEST_IN_JSON: Final = 3 * LARGEST
"""Bytes that it takes in JSON at most: two bytes of UTF-8 may be written as ``\\uXXXX``."""

_LEFT_OUT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but tab and line feed. Asked for each of a million characters, unicodedata takes 0.1 s."""

_SHOWN = 4


class MessageError(ValueError):
    """The message cannot be sent; the text says why and what to do."""


class TooLargeError(MessageError):
    """It is larger than `LARGEST`."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is pasted."""

    text: str
    left_out: tuple[str, ...]
    """The control characters that were removed, with repeats."""

    @property
    def note(self) -> str | None:
        """What was left out, for a warning."""
        if not self.left_out:
            return None
        kinds = Counter(self.left_out)
        shown = ", ".join(f"U+{ord(kind):04X}" for kind in list(kinds)[:_SHOWN])
        more = ", …" if len(kinds) > _SHOWN else ""
        noun = "control character was" if len(self.left_out) == 1 else "control characters were"
        return f"{len(self.left_out)} {noun} left out: {shown}{more}"


def message_of(text: str) -> Message:
    """Remove control characters, and trailing line breaks, which Enter replaces.

    Raises
    ------
    MessageError
        If nothing is left, or it is not UTF-8.
    TooLargeError
        If more than `LARGEST` is left.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    left_out = tuple(_LEFT_OUT.findall(lines))
    kept = _LEFT_OUT.sub("", lines).rstrip("\n")
    if not kept.strip():
        but = " but control characters, which are left out" if left_out else ""
        raise MessageError(f"there is nothing to send{but}; to press Enter alone, use agentctl keys NAME Enter")
    try:
        size = len(kept.encode())
    except UnicodeEncodeError:
        raise MessageError("expected UTF-8, found other bytes; send the name of a file instead") from None
    if size > LARGEST:
        raise TooLargeError(
            f"the message has {size} bytes, more than the limit of {LARGEST}: "
            "write it to a file that the agent can read, and send the file's name"
        )
    return Message(kept, left_out)
