"""Who is let in, and who is in: tokens may change while requests are answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from aiohttp import web

from agentd.gateway.model.caller import NOBODY, Caller, Token, caller_of


class Access:
    """Who is let in.

    Parameters
    ----------
    tokens
        None: everybody who reaches the server.
    hosts
        Names of the server beside those of the addresses that it listens on, in lower case.
    origins
        Of pages elsewhere that may use the interface.
    """

    def __init__(
        self, tokens: Iterable[Token] = (), hosts: Collection[str] = frozenset(), origins: Collection[str] = frozenset()
    ) -> None:
        self.hosts = frozenset(hosts)
        self.origins = frozenset(origins)
        self._tokens = tuple(tokens)
        self._guarded = bool(self._tokens)
        self._held: dict[int, tuple[web.Request, Caller]] = {}

    @property
    def guarded(self) -> bool:
        """Whether a token is needed; once one was, it stays so: the last token taken back lets nobody else in."""
        return self._guarded

    def caller_of(self, shown: str) -> Caller | None:
        """Find whose token was shown; ``None`` if it is nobody's."""
        return caller_of(shown, self._tokens)

    def change_tokens(self, tokens: Iterable[Token]) -> int:
        """Let in by these tokens from now on; gives how many requests were cut off that are not let in any more."""
        self._tokens = tuple(tokens)
        self._guarded = self._guarded or bool(self._tokens)
        known = {token.caller for token in self._tokens} if self._guarded else {NOBODY}
        strangers = [request for request, caller in self._held.values() if caller not in known]
        for request in strangers:
            # Its handler is cancelled with that.
            if request.transport is not None:
                request.transport.close()
        return len(strangers)

    @contextmanager
    def holding(self, request: web.Request, caller: Caller) -> Iterator[None]:
        """Answer a request in this context, as long as its caller is let in."""
        self._held[id(request)] = request, caller
        try:
            yield
        finally:
            del self._held[id(request)]
