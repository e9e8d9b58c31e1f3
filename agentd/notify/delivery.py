"""One attempt to tell something: a command is run, or a webhook is posted to. Blocking: for a thread of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from agentd import __version__
from agentd.model.notification import NotifyRule
from agentd.model.user import AgentUser
from agentd.notify.notice import Notice, signature
from agentd.process.runner import Runner, RunnerError

LIMIT: Final = 30.0
"""Seconds that one attempt may take."""

_SILENCE: Final = 10.0
"""Seconds without a byte from a web server."""
_MOST: Final = 1 << 20
"""Bytes that a command may print."""
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = range(500, 600)
_GOOD: Final = range(200, 300)
_TEXT: Final = "{text}"
_LONGEST_WAIT: Final = 300.0
"""Seconds that a server may ask us to wait."""


class DeliveryError(Exception):
    """Nobody was told; the text says why, without the URL, which may hold a token.

    Parameters
    ----------
    again
        Whether it may go better later.
    wait
        Seconds that the server asked to be left alone.
    """

    def __init__(self, reason: str, *, again: bool = True, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


@dataclass(slots=True)
class Delivery:
    """One attempt.

    Parameters
    ----------
    user
        Whom a command runs as.
    environ
        The command's environment.
    secret
        What a post is signed with, if the rule names one that there is.
    """

    rule: NotifyRule
    notice: Notice
    user: AgentUser
    environ: Mapping[str, str]
    secret: str | None = field(repr=False)
    _runner: Runner | None = None
    _socket: socket.socket | None = None

    def make(self) -> None:
        """Tell it.

        Raises
        ------
        DeliveryError
            If nobody was told.
        """
        if self.rule.command:
            self._run()
        else:
            self._post()

    def cancel(self) -> None:
        """Let the thread go, from another one."""
        if self._runner is not None:
            self._runner.cancel()
        if self._socket is not None:
            # It may have ended already.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        argv = [word.replace(_TEXT, self.notice.text) for word in self.rule.command]
        self._runner = Runner(self.user, self.environ)
        document = json.dumps(self.notice.document()).encode() + b"\n"
        try:
            done = self._runner.run(argv, stdin=document, limit=LIMIT, most=_MOST, environment=self.environ)
        except RunnerError as error:
            raise DeliveryError(str(error)) from error
        if done.status != 0:
            raise DeliveryError(f"{argv[0]} ended with status {done.status}: {done.reason}")

    def _post(self) -> None:
        assert self.rule.url is not None
        parts = urlsplit(self.rule.url)
        assert parts.hostname is not None
        body, kind = self.notice.body(self.rule.format)
        headers = {"Content-Type": kind, "User-Agent": f"agentd/{__version__}", **self._signed(body)}
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_SILENCE, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_SILENCE)
        try:
            connection.connect()
            self._socket = connection.sock
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, headers)
            with connection.getresponse() as answer:
                status, wait = answer.status, _seconds(answer.getheader("Retry-After", ""))
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DeliveryError(f"{parts.hostname}: {reason}") from error
        finally:
            connection.close()
        if status not in _GOOD:
            again = status in _TRY_AGAIN or status in _SERVER_ERRORS
            raise DeliveryError(f"{parts.hostname} answered with status {status}", again=again, wait=wait)

    def _signed(self, body: bytes) -> Mapping[str, str]:
        if self.rule.secret is None:
            return {}
        if self.secret is None:
            raise DeliveryError(f"there is no secret {self.rule.secret} to sign with")
        at = int(time.time())
        try:
            signed = signature(self.secret, self.notice.id, at, body)
        except ValueError:
            raise DeliveryError(f"what follows whsec_ in the secret {self.rule.secret} is no base64") from None
        return {"webhook-id": self.notice.id, "webhook-timestamp": str(at), "webhook-signature": signed}


def _seconds(text: str) -> float:
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdecimal() else 0.0
