"""Placeholders of secrets, and putting values in their place. Pure but for chance."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agentd.model.destinations import Destination
from agentd.sandbox.egress.head import BadRequestError, Head

_PREFIXES: Final = (
    *("sk-ant-api03-", "sk-ant-oat01-", "sk-ant-", "sk-proj-", "sk-or-v1-", "sk-svcacct-", "sk-"),
    *("github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "glcbt-", "gldt-", "ATATT3xFfGF0"),
    *("xoxb-", "xoxp-", "xapp-", "AIza", "hf_", "npm_", "pypi-", "gsk_", "xai-", "pplx-", "r8_", "dop_v1_", "lin_api_"),
    *("sk_live_", "sk_test_", "rk_live_", "rk_test_", "ntn_", "secret_", "sbp_", "vercel_", "figd_", "SG."),
)
"""Public beginnings by which tools tell what kind of secret it is."""

_SHORTEST, _LONGEST = 40, 128
"""Characters of a placeholder: at least 24 of them are by chance."""
_ALPHABET: Final = string.ascii_letters + string.digits

_CREDENTIAL: Final = re.compile(rb"(?!sec-).*(?:auth|key|token|secret|password)", re.IGNORECASE)
"""Names of header fields that carry credentials."""
_BASIC: Final = re.compile(rb"(basic +)([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)

_MOST_MASKED: Final = 64
"""Values of one connection that are looked for: a client that varies its user name sends a new one each time."""
_CARRIED: Final = re.compile(rb"[\t -~\x80-\xff]*")
"""What a header field can carry."""
SHORTEST_MASKED: Final = 8
"""Characters of a value that is taken out of answers: a shorter one would stand there by chance."""


@dataclass(frozen=True, slots=True)
class Substitution:
    """A secret as the proxy knows it."""

    placeholder: str
    value: str = field(repr=False)
    to: tuple[Destination, ...]

    def is_for(self, host: str, port: int) -> bool:
        """Whether its value may go there."""
        return any(each.allows_name(host, port) for each in self.to)


def placeholder_for(value: str) -> str:
    """Make a placeholder that nobody can guess, and that looks like the value to tools."""
    prefix = next((each for each in _PREFIXES if value.startswith(each)), "")
    size = min(max(len(value), _SHORTEST), _LONGEST)
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(size - len(prefix)))


def put_in(head: Head, substitutions: Sequence[Substitution]) -> tuple[Head, tuple[bytes, ...]]:
    """Put values where their placeholders stand, in header fields that carry credentials.

    Raises
    ------
    BadRequestError
        If a value cannot be sent there.

    Returns
    -------
    tuple
        The head, and what of it must not come back in the answer.
    """
    put: list[bytes] = []

    def replaced(text: bytes) -> bytes:
        for each in substitutions:
            placeholder, value = each.placeholder.encode(), each.value.encode()
            if placeholder in text:
                text = text.replace(placeholder, value)
                put.append(value)
        return text

    def value_of(name: bytes, text: bytes) -> bytes:
        if _CREDENTIAL.match(name) is None:
            return text
        basic = _BASIC.fullmatch(text)
        if basic is None:
            return replaced(text)
        try:
            plain = base64.b64decode(basic[2], validate=True)
        except binascii.Error:
            return text
        if (found := replaced(plain)) == plain:
            return text
        put.append(base64.b64encode(found))
        return basic[1] + put[-1]

    fields = [(name, value_of(name, text)) for name, text in head.fields]
    if not put:
        return head, ()
    _check_carried(fields)
    # A compressed answer could not be searched for what must not come back.
    fields = [each for each in fields if each[0].lower() != b"accept-encoding"]
    fields.append((b"Accept-Encoding", b"identity"))
    return replace(head, fields=tuple(fields)), tuple(dict.fromkeys(put))


def _check_carried(fields: Iterable[tuple[bytes, bytes]]) -> None:
    if any(_CARRIED.fullmatch(text) is None for _, text in fields):
        raise BadRequestError("502 Bad Gateway", "the secret has characters that no header field can carry")


class Mask:
    """Takes values out of a stream, as ``*``, so that its length stays; holds back only what may become one."""

    def __init__(self) -> None:
        self._values: dict[bytes, None] = {}
        self._held = b""

    def add(self, values: Sequence[bytes]) -> None:
        """Look for these, too."""
        self._values.update(dict.fromkeys(value for value in values if len(value) >= SHORTEST_MASKED))
        for value in list(self._values)[:-_MOST_MASKED]:
            del self._values[value]

    def take(self, data: bytes) -> bytes:
        """Take some more; give what may be passed on."""
        data = self._held + data
        for value in self._values:
            data = data.replace(value, b"*" * len(value))
        keep = max((_overlap(data, value) for value in self._values), default=0)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def rest(self) -> bytes:
        """Give what was held back, at the end."""
        held, self._held = self._held, b""
        return held


def _overlap(data: bytes, value: bytes) -> int:
    """How many bytes at the end of the data begin the value."""
    start = max(0, len(data) - len(value) + 1)
    while (start := data.find(value[:1], start)) >= 0:
        if value.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0
