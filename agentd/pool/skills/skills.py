"""Texts for agents, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from agentd.pool.errors import Code, PoolError
from agentd.text.quoting import quote

_SKILLS: Final = {"workers": "hand work to other coding agents, watch them, answer them, collect their patches"}


@dataclass(frozen=True, slots=True)
class Skill:
    """A text for agents."""

    name: str
    description: str
    text: str | None
    """Null in a list."""


@dataclass(frozen=True, slots=True)
class SkillList:
    """The skills that there are."""

    skills: Sequence[Skill]


def skills() -> SkillList:
    """List the skills."""
    return SkillList([Skill(name, description, None) for name, description in _SKILLS.items()])


def skill(name: str) -> Skill:
    """Give a skill.

    Raises
    ------
    PoolError
        If there is none of that name.
    """
    if name not in _SKILLS:
        message = f"there is no skill {quote(name)}; there is {', '.join(_SKILLS)}"
        raise PoolError(Code.NOT_FOUND, message, "agentctl skills list")
    text = files("agentd.pool.skills").joinpath(f"{name}.md").read_text(encoding="utf-8")
    return Skill(name, _SKILLS[name], text)
