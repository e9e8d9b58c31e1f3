"""The lines of the journal: JSON, one event each, with a checksum that tells a damaged line from a whole one.

A line is JSON that `jq` and `grep` read as it is; its last member is the CRC-32 of everything before that member. So a
flipped bit is noticed wherever it is, above all in a number, which would put all later lines out of order.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from zlib import crc32

from agentd.model.events import Event
from agentd.text.timestamps import rfc3339_milliseconds

LONGEST_REASON = 4000
"""Characters that are kept of a reason: a jcard can be wrong in a thousand places."""

LONGEST_LINE = 32 * 1024
"""Bytes; what is longer was not written by agentd."""

_CHECK = b',"crc":"'
_END = b'"}'
_TAIL = len(_CHECK) + 8 + len(_END)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_HEAD = re.compile(
    rb'\{"seq":([0-9]{1,16}),"time":"([0-9T:.Z-]{20,32})","agent":(null|"(?:[^"\\]|\\.){0,512}"),"kind":"([a-z0-9_]{1,64})",'
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the journal, as it is kept and sent."""

    seq: int
    time: str
    """RFC 3339 in UTC, with milliseconds."""
    agent: str | None
    kind: str
    body: bytes
    """The event as compact JSON, without the checksum."""

    @property
    def line(self) -> bytes:
        """The line of the journal, with its end."""
        return b"%s%s%08x%s\n" % (self.body[:-1], _CHECK, crc32(self.body[:-1]), _END)


def entry_of(seq: int, seconds: float, event: Event) -> Entry:
    """Write an event down.

    Parameters
    ----------
    seconds
        When it happened: wall clock, since the epoch.
    """
    at, reason = rfc3339_milliseconds(seconds), event.reason
    if reason is not None and len(reason) > LONGEST_REASON:
        reason = reason[: LONGEST_REASON - 1] + "…"
    values = {
        "seq": seq,
        "time": at,
        "agent": event.agent,
        "kind": event.kind.value,
        "reason": reason,
        "data": dict(event.data),
    }
    # Undecodable bytes of a path, which no JSON can hold, become question marks.
    body = _encode(values).encode("utf-8", "replace")
    if len(body) > LONGEST_LINE - _TAIL:
        body = _encode({**values, "data": {}}).encode("utf-8", "replace")
    return Entry(seq, at, event.agent, event.kind.value, body)


def parse_line(line: bytes) -> Entry | None:
    """Read a line without its end; ``None`` if it is damaged."""
    checked = line[:-_TAIL]
    if line[-_TAIL:] != b"%s%08x%s" % (_CHECK, crc32(checked), _END):
        return None
    head = _HEAD.match(line)
    if head is None:
        return None
    seq, at, quoted, kind = head.groups()
    try:
        agent = json.loads(quoted)
    except ValueError:
        # The checksum is right, so somebody made this line: no reason to end the daemon or a reader.
        return None
    return Entry(int(seq), at.decode("ascii"), agent, kind.decode("ascii"), checked + b"}")
