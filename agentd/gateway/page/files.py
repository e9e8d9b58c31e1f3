"""The files of the page, as they are in the package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

TYPES: Final[Mapping[str, str]] = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}

PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One of them."""

    content: bytes
    content_type: str
    tag: str
    """Tells one version from another."""


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Read them, by name."""
    found = {}
    for each in resources.files(f"{__package__}.static").iterdir():
        kind = TYPES.get(each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            found[each.name] = StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:16])
    return found
