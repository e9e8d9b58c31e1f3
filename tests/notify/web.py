"""A web server on loopback that keeps what is posted to it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Post:
    """What was posted."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Hooks:
    """The server's side."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    """What the next posts are answered with; 200 when there is none left."""
    headers: dict[str, str] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=t0ken"


@contextmanager
def hooks() -> Iterator[Hooks]:
    """Serve while the context is open."""
    kept = Hooks()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.posts.append(Post(self.path, dict(self.headers.items()), body))
            self.send_response(kept.statuses.pop(0) if kept.statuses else 200)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield kept
        server.shutdown()
        thread.join()
