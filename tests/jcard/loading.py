"""Loads jcards against a context that resembles a machine with an agent user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from agentd.model.spec import AgentSpec, LoadContext


@dataclass(frozen=True)
class Traits:
    takes_model: bool
    takes_command: bool


CONTEXT = LoadContext(
    folder=Path("/etc/stereos"),
    home=Path("/home/agent"),
    default_workdir=Path("/home/agent/workspace"),
    data_dir=Path("/home/agent/.local/share/agentd"),
    harnesses={
        "claude-code": Traits(takes_model=True, takes_command=False),
        "codex": Traits(takes_model=True, takes_command=False),
        "custom": Traits(takes_model=False, takes_command=True),
    },
)


def load(text: str | bytes) -> LoadResult:
    return load_jcard(text.encode() if isinstance(text, str) else text, "jcard.toml", CONTEXT)


def agents_of(text: str) -> list[AgentSpec]:
    """The agents of a jcard without any problem."""
    result = load(text)
    assert [str(problem) for problem in result.problems] == []
    return list(result.agents)


def agent_of(fields: str, harness: str = "claude-code") -> AgentSpec:
    """The only agent, with these fields."""
    [agent] = agents_of(f'[agent]\nharness = "{harness}"\n{fields}\n')
    return agent


def errors_of(text: str) -> list[str]:
    result = load(text)
    assert result.errors, "expected the file to be refused"
    assert result.agents == ()
    return [str(problem) for problem in result.errors]


def error_of(fields: str, harness: str = "claude-code") -> str:
    """The only error of an agent named x, whose field stands in line 4."""
    [error] = errors_of(f'[agent]\nname = "x"\nharness = "{harness}"\n{fields}\n')
    return error


def warnings_of(text: str) -> list[str]:
    result = load(text)
    assert result.errors == []
    return [str(problem) for problem in result.warnings]
