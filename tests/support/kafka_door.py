"""A door before a Kafka-compatible broker: TLS, and SASL by PLAIN and SCRAM, of which tansu has neither.

Its ``--cert`` cannot be given with its ``--key``, and the users it is told of it does not find ("e=unknown-user").
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

USER, PASSWORD = "ada", "kafka-pa55word"

_API_VERSIONS, _HANDSHAKE, _AUTHENTICATE = 18, 17, 36
_REFUSED = 58
_MECHANISMS = {"PLAIN": "", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
_ITERATIONS = 4096


class _RefusedError(Exception):
    """The user or the password is not the right one."""


class _Scram:
    """The server's side of SCRAM (RFC 5802)."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._said = ""

    def answer(self, message: str) -> tuple[str, bool]:
        """Give what is answered, and whether that was all."""
        given = dict(part.split("=", 1) for part in message.split(",") if "=" in part)
        if not self._said:
            salt = base64.b64encode(b"salt").decode()
            # Whoever it is, the password decides.
            self._said = f"r={given['r']}{os.urandom(8).hex()},s={salt},i={_ITERATIONS}"
            self._known = given["n"] == USER
            self._first = message.split(",", 2)[2]
            return self._said, False
        salted = hashlib.pbkdf2_hmac(self._algorithm, PASSWORD.encode(), b"salt", _ITERATIONS)
        about = f"{self._first},{self._said},{message.rpartition(',p=')[0]}".encode()
        key = self._mac(salted, b"Client Key")
        signature = self._mac(hashlib.new(self._algorithm, key).digest(), about)
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        if not self._known or base64.b64decode(given["p"]) != proof:
            raise _RefusedError
        return f"v={base64.b64encode(self._mac(self._mac(salted, b'Server Key'), about)).decode()}", True

    def _mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self._algorithm).digest()


class _Visitor:
    """A connection: let through once it has shown who it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sasl: bool) -> None:
        self._reader, self._writer = reader, writer
        self._sasl = sasl

    async def serve(self, port: int) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if self._sasl:
                await self._authenticate(inner, outer)
            await asyncio.gather(_pump(self._reader, outer), _pump(inner, self._writer))
        finally:
            outer.close()
            with contextlib.suppress(OSError):
                await outer.wait_closed()

    async def _authenticate(self, inner: asyncio.StreamReader, outer: asyncio.StreamWriter) -> None:
        mechanism, scram, done = "", _Scram("sha256"), False
        while not done:
            request = await _frame(self._reader)
            kind, version, number, client = struct.unpack_from(">hhih", request)
            body = request[10 + max(client, 0) :]
            if kind == _API_VERSIONS:
                outer.write(struct.pack(">i", len(request)) + request)
                answer = await _frame(inner)
                self._writer.write(struct.pack(">i", len(answer)) + answer)
                continue
            if kind == _HANDSHAKE:
                mechanism = body[2:].decode()
                scram = _Scram(_MECHANISMS[mechanism] or "sha256")
                names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in _MECHANISMS)
                answer = struct.pack(">hi", 0, len(_MECHANISMS)) + names
            else:
                assert kind == _AUTHENTICATE, "nothing else before it has shown who it is"
                try:
                    said, done = self._check(mechanism, scram, body[4:].decode())
                    answer = struct.pack(">hhi", 0, -1, len(said)) + said.encode()
                except _RefusedError:
                    answer = struct.pack(">hhi", _REFUSED, -1, 0)
                answer += struct.pack(">q", 0) if version else b""
            self._writer.write(struct.pack(">ii", 4 + len(answer), number) + answer)

    @staticmethod
    def _check(mechanism: str, scram: _Scram, said: str) -> tuple[str, bool]:
        if mechanism != "PLAIN":
            return scram.answer(said)
        if said.split("\0")[1:] != [USER, PASSWORD]:
            raise _RefusedError
        return "", True


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.contextmanager
def door(port: int, inner: int, tls: tuple[Path, Path], *, sasl: bool) -> Iterator[None]:
    """Serve a port of loopback, before a broker at another one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*tls)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        # A task of a stream that is cancelled would be told of.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await _Visitor(reader, writer, sasl=sasl).serve(inner)
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(visit, "127.0.0.1", port, ssl=context)
        ready.set()
        await over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in writers:
            # One that is closed waits 30 s for its peer to say so, too.
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
