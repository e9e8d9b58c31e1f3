"""HTTP over a Unix socket for programs that may wait, without an event loop."""

from __future__ import annotations

import http.client
import socket


class UnixConnection(http.client.HTTPConnection):
    """A connection to the socket at a path.

    Parameters
    ----------
    path
        Of the socket.
    patience
        Seconds to wait for it to connect, and for each piece of an answer.
    """

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path
        self._patience = patience

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience)
        self.sock.connect(self._path)
