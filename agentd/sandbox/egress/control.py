"""What agentd and the proxy say to each other on its control socket: a JSON object a line, each answered by one.

Nobody but agentd may say anything there, since who could would be sent the secrets: the socket is agentd's own, and the
peer's uid is compared. What the proxy tells by itself has no ``answer``.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from agentd.model.destinations import parse_destination
from agentd.sandbox.egress.placeholders import Substitution
from agentd.sandbox.egress.reach import Reach

LONGEST_LINE: Final = 1 << 20
"""Bytes."""

_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve a run, or go on with what it reaches now."""

    run_id: str
    reach: Reach = field(repr=False)
    bubblewrap: int | None = None
    """Its process, if it runs already."""

    def dump(self) -> bytes:
        """Write it for the socket."""
        reach = self.reach
        substitutions = [[each.placeholder, each.value, [*map(str, each.to)]] for each in reach.substitutions]
        return line(
            serve=self.run_id,
            agent=reach.agent,
            destinations=[*map(str, reach.destinations)],
            substitutions=substitutions,
            identity=reach.identity,
            bubblewrap=self.bubblewrap,
        )


@dataclass(frozen=True, slots=True)
class End:
    """Serve a run no longer."""

    run_id: str

    def dump(self) -> bytes:
        """Write it for the socket."""
        return line(end=self.run_id)


def line(**fields: object) -> bytes:
    """Write an object."""
    return json.dumps(fields).encode() + b"\n"


def parse(data: bytes) -> Serve | End:
    """Read what agentd says.

    Raises
    ------
    ValueError, KeyError, TypeError
        If that is something else, as another version may say.
    """
    said = json.loads(data)
    if "end" in said:
        return End(str(said["end"]))
    substitutions = tuple(
        Substitution(placeholder, value, tuple(map(parse_destination, to)))
        for placeholder, value, to in said["substitutions"]
    )
    destinations = tuple(map(parse_destination, said["destinations"]))
    return Serve(
        str(said["serve"]), Reach(said["agent"], destinations, substitutions, said["identity"]), said["bubblewrap"]
    )


def peer_uid(connection: socket.socket) -> int:
    """The uid of who is at the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
