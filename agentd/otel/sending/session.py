"""Connections to the collector, which take nothing from agentd's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import requests

_OF_OTLP: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent"}
)
_REDIRECTS: Final = range(300, 400)


def session_with(headers: Mapping[str, str]) -> requests.Session:
    """Return a session that sends these headers, in lower case, and OTLP's own.

    The exporters add what ``OTEL_EXPORTER_OTLP_HEADERS`` says, which is for another program and may be a token for
    another collector; requests would add what ``.netrc`` says, and go by proxies of the environment.
    """
    session = requests.Session()
    session.trust_env = False

    def only_ours(request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name in list(request.headers):
            if name.lower() not in _OF_OTLP and name.lower() not in headers:
                del request.headers[name]
        return request

    session.auth = only_ours
    session.hooks["response"].append(_no_redirect)
    return session


def verify_by(session: requests.Session, certificate: str | None) -> None:
    """Check the collector's certificate by this file, or the public ones, whatever an exporter has found."""
    session.verify = certificate or True
    session.cert = None


def _no_redirect(response: requests.Response, **_: object) -> None:
    if response.status_code in _REDIRECTS:
        # The exporters take it for success.
        response.close()
        raise requests.RequestException(f"status {response.status_code}: redirects are not followed")
