"""Who did something, as the daemon says it, for people."""

from __future__ import annotations


def actor_name(actor: str) -> str:
    """Name a user, an agent or a rule: of ``uid:1000`` the user, of ``agent:a`` ``a``, of ``rule:r`` ``rule r``."""
    kind, _, name = actor.partition(":")
    if kind == "rule":
        return f"rule {name}"
    if kind != "uid" or not name.isdecimal():
        return name or kind
    import pwd

    try:
        return pwd.getpwuid(int(name)).pw_name
    except (KeyError, OverflowError):
        return actor
