"""Real TLS servers on loopback, with a certificate authority of the test's own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

HOST = "localhost"


class Authority:
    """Makes certificates for localhost, and for names that tests resolve themselves."""

    def __init__(self, folder: Path, names: tuple[str, ...] = (HOST,)) -> None:
        self.identity, self.trusted = folder / "server.pem", folder / "ca.pem"
        listed = ",".join(f"DNS:{name}" for name in names)
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=test", "-addext", f"subjectAltName={listed}", "-keyout", "-", "-out", "-"],
            capture_output=True, check=True,
        )  # fmt: skip
        self.identity.write_bytes(done.stdout)
        self.trusted.write_bytes(done.stdout[done.stdout.index(b"-----BEGIN CERT") :])
        self.trusted.chmod(0o644)

    def context(self) -> ssl.SSLContext:
        """A server's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.identity)
        return context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    more: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        if self.path == "/events":
            self._stream()
        elif "repo.git" in self.path and "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.headers.get("Upgrade") == "websocket":
            self._websocket()
        else:
            self._echo(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() != b"\r\n":
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self._echo(body)

    def _echo(self, body: bytes) -> None:
        text = json.dumps({"headers": dict(self.headers), "body": hashlib.sha256(body).hexdigest()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        self.server.more.wait(20)  # type: ignore[attr-defined]
        self.wfile.write(b"data: second\n\n")
        self.close_connection = True

    def _websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())  # noqa: S324
        self.end_headers()
        while data := self.connection.recv(1000):
            self.connection.sendall(data[::-1])
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server that shows what it was asked: ``seen``."""

    daemon_threads = True

    def __init__(self, authority: Authority | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.more = threading.Event()
        """Lets a stream go on."""
        if authority is not None:
            self.socket = authority.context().wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def handle_error(self, *_arguments: object) -> None:
        """Clients go away as they like."""


@contextlib.contextmanager
def serving(authority: Authority | None) -> Iterator[Server]:
    """Serve, by TLS if there is an authority."""
    with Server(authority) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.more.set()
        server.shutdown()
        thread.join()
