"""Where the tokens come from: secrets and hashes in the jcard, files, variables and flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from agentd.files.regular import read_regular
from agentd.gateway.model.caller import Token
from agentd.jcard.secrets import read_secret
from agentd.model.gateway import DeclaredToken

TOKEN_VARIABLES: Final = ("AGENTD_AUTH_TOKEN", "AGENTD_AUTH_TOKENS", "AGENTD_API_KEY")
"""Each may hold several tokens, separated by commas."""

_LARGEST_TOKEN_FILE: Final = 64 << 10
_USABLE: Final = re.compile(r"[!-~]+")
"""What a header can carry as one word."""

Reach: TypeAlias = Callable[[Path], None]
"""Makes sure that a path answers."""


class TokenError(ValueError):
    """A token cannot be read or used; the text says why, and never shows it."""


@dataclass(frozen=True, slots=True)
class TokenSources:
    """Where to look for tokens."""

    secret_dir: Path
    files: tuple[Path, ...]
    """With an administrator's token on each line."""
    fixed: tuple[Token, ...]
    """Of variables and flags, which do not change."""


def fixed_tokens(environ: Mapping[str, str], flags: Iterable[str]) -> tuple[Token, ...]:
    """Give the tokens of variables and flags.

    Raises
    ------
    TokenError
        If one cannot be used.
    """
    found = [
        (token.strip(), name) for name in TOKEN_VARIABLES for token in environ.get(name, "").split(",") if token.strip()
    ]
    found += ((token, "--auth-token") for token in flags)
    return tuple(Token.of(_usable(token, source)) for token, source in found)


def read_tokens(
    declared: Iterable[DeclaredToken], sources: TokenSources, reach: Reach
) -> tuple[tuple[Token, ...], tuple[TokenError, ...]]:
    """Give all tokens that can be read, and what is wrong with the others."""
    tokens: list[Token] = []
    errors: list[TokenError] = []
    for token in declared:
        try:
            tokens.append(_declared(token, sources.secret_dir, reach))
        except TokenError as error:
            errors.append(error)
    for file in sources.files:
        try:
            tokens += [Token.of(_usable(token, str(file))) for token in _lines(file, reach)]
        except TokenError as error:
            errors.append(error)
    return (*tokens, *sources.fixed), tuple(errors)


def _declared(token: DeclaredToken, secret_dir: Path, reach: Reach) -> Token:
    if token.digest is not None:
        return Token(token.digest, token.user, token.scopes)
    assert token.secret is not None, "the loader takes a secret or a hash"
    path = secret_dir / token.secret
    reach(path)
    value = read_secret(path)
    if not isinstance(value, str):
        reason = "it is a folder" if value is None else value.strerror
        raise TokenError(f"secret file {path}: {reason}; [[gateway.tokens]] names it")
    return Token.of(_usable(value, f"secret file {path}"), token.user, token.scopes)


def _lines(path: Path, reach: Reach) -> Sequence[str]:
    reach(path)
    try:
        data = read_regular(path, _LARGEST_TOKEN_FILE)
    except OSError as error:
        raise TokenError(f"--auth-token-file {path}: {error.strerror}") from None
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    if not any(lines):
        raise TokenError(f"--auth-token-file {path}: expected a token on each line, found none")
    return [line for line in lines if line]


def _usable(token: str, source: str) -> str:
    if not _USABLE.fullmatch(token):
        raise TokenError(f"{source}: expected a token of printable ASCII without spaces")
    return token
