"""Whatever tmux, or what stands in its place, prints: items or one clear error, never anything else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from tempfile import NamedTemporaryFile

from hypothesis import given
from hypothesis import strategies as st

from agentd.tmux.connection import ClientCommand, ControlConnection
from agentd.tmux.errors import TmuxError, TmuxStartError, TmuxUnreachableError
from agentd.tmux.protocol import ControlParser, Notification, ProtocolError, Reply
from tests.fuzz.effort import examples
from tests.fuzz.mutations import mutations

GREETING = b"%begin 1700000000 1 0\n%end 1700000000 1 0\n"
STREAM = (
    GREETING
    + b"%session-changed $0 _agentd\n%sessions-changed\n%window-add @1\n"
    + b"%begin 1700000000 7 1\n$1 @1 %1 4242\n%end 1700000000 7 1\n"
    + b"%begin 1700000000 8 1\nno such session: a\n%error 1700000000 8 1\n"
    + b"%begin 1700000000 9 1\n\n\n%output %1 x\n%end 1700000000 8 1\n%end 1700000000 9 1\n"
    + b"%window-renamed @1 \xc3\xa4\xff\n%exit server exited\n"
)
_TOKENS = [
    *(b"%", b"\n", b"\r\n", b"\r", b"\0", b"%begin ", b"%end ", b"%error ", b"%exit\n", b"\x1bP1000p", b"\x1b\\"),
    *(b"%begin 1700000000 9 1\n", b"%end 1700000000 9 1\n", b"%error 1700000000 9 1\n", b" -1", b"9" * 30, b"\xd9\xa3"),
]
_STREAMS = mutations([STREAM], _TOKENS)


def outcome(pieces: Iterable[bytes]) -> list[Reply | Notification | str]:
    """The items in order, and at last the error if there was one."""
    parser = ControlParser()
    found: list[Reply | Notification | str] = []
    for piece in pieces:
        try:
            found += parser.feed(piece)
        except ProtocolError as error:
            return [*found, str(error)]
    return found


@examples(60)
@given(_STREAMS, st.lists(st.integers(0, 2000), max_size=10))
def test_a_damaged_stream_means_the_same_however_it_is_cut(stream: bytes, places: list[int]) -> None:
    at = sorted({0, len(stream), *(place for place in places if place < len(stream))})
    lines = outcome(line + b"\n" for line in stream.split(b"\n"))
    pieces = outcome([*(stream[start:end] for start, end in pairwise(at)), b"\n"])
    if lines and isinstance(lines[-1], str):
        # What stood before the error in the same piece went with it: the connection is given up either way.
        assert pieces[-1] == lines[-1]
    else:
        assert pieces == lines


@examples(8)
@given(stream=st.one_of(_STREAMS, _STREAMS.map(GREETING.__add__), st.binary(max_size=200)))
async def test_a_client_that_prints_anything_is_used_or_given_up_with_a_reason(
    stream: bytes,
) -> None:
    with NamedTemporaryFile() as said:
        said.write(stream)
        said.flush()
        await talk_to(said.name)


async def talk_to(said: str) -> None:
    notifications: list[Notification] = []
    client = ClientCommand(("/bin/sh", "-c", 'cat "$0"; read -r _; exit 3', said), {"PATH": "/usr/bin:/bin"})
    try:
        connection = await ControlConnection.open(client, notifications.append, 0.2, 0.2)
    except TmuxStartError as error:
        reason = str(error)
    else:
        reason = await used_until_closed(connection)
    assert reason


async def used_until_closed(connection: ControlConnection) -> str:
    """Ask something, whatever comes of it, and give the reason why the connection ended."""
    try:
        answers = await connection.run("list-sessions")
        assert all(isinstance(line, str) for lines in answers for line in lines)
    except (TmuxError, TmuxUnreachableError):
        pass
    finally:
        await connection.close()
    return await connection.closed
