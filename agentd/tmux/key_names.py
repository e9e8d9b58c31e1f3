"""Check the names of keys: tmux would type an unknown name letter by letter."""

from __future__ import annotations

import re

from agentd.text.quoting import quote

_FUNCTION_KEYS = tuple(f"F{number}" for number in range(1, 13))
_KEYPAD_KEYS = tuple(f"KP{key}" for key in (*"0123456789/*-+.", "Enter"))

# Source: tmux(1), KEY BINDINGS, and key-string.c; keys of the mouse are left out.
NAMED = (
    *("Enter", "Escape", "Tab", "BTab", "Space", "BSpace", "Up", "Down", "Left", "Right", "Home", "End"),
    *("PageUp", "PgUp", "PPage", "PageDown", "PgDn", "NPage", "Insert", "IC", "Delete", "DC"),
    *_FUNCTION_KEYS,
    *_KEYPAD_KEYS,
)
"""Keys that have a name."""

_BY_LOWER = {name.lower(): name for name in NAMED}
_MODIFIED = re.compile(r"((?:[CMS]-)*)(.+)", re.DOTALL | re.IGNORECASE)
_CARET = re.compile(r"\^([@-_a-z?])")


class KeyNameError(ValueError):
    """tmux has no such key; the text suggests others."""


def key_name(text: str) -> str:
    """Convert a key's name to tmux' spelling.

    Parameters
    ----------
    text
        A named key, in any case, or one printable character; optionally prefixed with ``C-``, ``M-`` or ``S-``.

    Raises
    ------
    KeyNameError
        If there is no such key.
    """
    if _CARET.fullmatch(text):
        return f"C-{text[1].lower()}"
    match = _MODIFIED.fullmatch(text)
    modifiers, key = (match[1].upper(), match[2]) if match else ("", "")
    if (named := _BY_LOWER.get(key.lower())) is not None:
        return modifiers + named
    if len(key) == 1 and key.isprintable() and (key.isascii() or "C-" not in modifiers):
        return modifiers + key
    raise KeyNameError(_reason(text))


def _reason(text: str) -> str:
    from difflib import get_close_matches

    close = [_BY_LOWER[match] for match in get_close_matches(text.lower(), _BY_LOWER, n=2)]
    if text.lower() in ("esc", "return"):
        close = ["Escape" if text.lower() == "esc" else "Enter"]
    hint = f"did you mean {' or '.join(close)}?" if close else "to type text, use agentctl send"
    return f"there is no key {quote(text)}: {hint}"
