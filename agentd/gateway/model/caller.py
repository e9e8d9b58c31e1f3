"""Who asks, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agentd.model.gateway import Scope

_ORDER: Final = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request."""

    user: str | None
    """Who owns what the caller makes; ``None`` is nobody in particular."""
    scopes: frozenset[Scope]
    token: str
    """Tells the caller's token from others, without being it."""

    def may(self, scope: Scope) -> bool:
        """Whether the token is for this."""
        return any(_ORDER.index(own) <= _ORDER.index(scope) for own in self.scopes)

    @property
    def sees_all(self) -> bool:
        """Whether what others own is the caller's to see and touch, too."""
        return Scope.ADMIN in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Whether something of this owner is there for the caller; if not, it is answered as what does not exist."""
        return self.sees_all or (self.user is not None and owner == self.user)


NOBODY: Final = Caller(None, frozenset({Scope.ADMIN}), "")
"""The caller where no token is configured: a person on this machine."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is configured: what it hashes to, and whose it is."""

    digest: bytes = field(repr=False)
    """SHA-256 of the token."""
    user: str | None
    scopes: frozenset[Scope]

    @classmethod
    def of(cls, token: str, user: str | None = None, scopes: Iterable[Scope] = (Scope.ADMIN,)) -> Token:
        """Hash a token."""
        return cls(digest_of(token), user, frozenset(scopes))

    @property
    def caller(self) -> Caller:
        """Whoever shows this token."""
        return Caller(self.user, self.scopes, hashlib.sha256(self.digest).hexdigest()[:32])


def digest_of(token: str) -> bytes:
    """Hash a token; header values may hold bytes that are no text."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def caller_of(shown: str, tokens: Iterable[Token]) -> Caller | None:
    """Find whose token was shown, in a time that tells nothing of the tokens; ``None`` if it is nobody's."""
    digest = digest_of(shown)
    found: Caller | None = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = found or token.caller
    return found
