"""As much of S3 as a Kafka-compatible broker needs to keep what it was told over a kill; it is kept in memory here."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "broker"

_MODIFIED = "2026-01-01T00:00:00.000Z"
_MODIFIED_HTTP = "Thu, 01 Jan 2026 00:00:00 GMT"


class _Store:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: _Store

    def handle(self) -> None:
        """Answer until the broker hangs up, or is killed."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        """Write an object; on a condition, if there is one."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.store.lock:
            there = self.store.objects.get(self._key)
            wanted = self.headers.get("If-Match")
            taken = self.headers.get("If-None-Match") == "*" and there is not None
            if taken or (wanted is not None and (there is None or wanted.strip('"') != _etag(there).strip('"'))):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.store.objects[self._key] = data
        self._answer(200, ETag=_etag(data))

    def do_HEAD(self) -> None:
        """Describe an object."""
        self.do_GET()

    def do_GET(self) -> None:
        """Read an object, or list some."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "list-type" in query:
            self._list(query)
            return
        with self.store.lock:
            data = self.store.objects.get(self._key)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        if self.headers.get("If-None-Match", "").strip('"') == _etag(data).strip('"'):
            self._answer(304, ETag=_etag(data), Last_Modified=_MODIFIED_HTTP)
            return
        about = {"ETag": _etag(data), "Last_Modified": _MODIFIED_HTTP}
        part = self.headers.get("Range")
        if part is None:
            self._answer(200, data, **about)
            return
        first, _, last = part.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(data) - int(last)
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        about["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
        self._answer(206, data[start : end + 1], **about)

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, after = query.get("prefix", [""])[0], query.get("start-after", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        with self.store.lock:
            known = {key: data for key, data in self.store.objects.items() if key.startswith(prefix) and key > after}
        folders, entries = set(), []
        for key in sorted(known):
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            entries.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{_MODIFIED}</LastModified>"
                f"<ETag>{escape(_etag(known[key]))}</ETag><Size>{len(known[key])}</Size></Contents>"
            )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(folders)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(entries)}{common}</ListBucketResult>"
        self._answer(200, text.encode(), Content_Type="application/xml")

    def do_DELETE(self) -> None:
        """Remove an object."""
        with self.store.lock:
            self.store.objects.pop(self._key, None)
        self._answer(204)

    def do_POST(self) -> None:
        """Refuse what is not needed."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Serve an empty store while the context is open; gives its address."""
    handler = type("_Own", (_Handler,), {"store": _Store()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="object store")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until the standard input ends; says where."""
    with serving() as address:
        print(address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
