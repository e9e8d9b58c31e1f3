"""What is rendered: files, arguments, and the model by the harness's own name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedSubagent

INSTRUCTIONS: Final = "AGENTS.md"
"""What coding agents read first; the workspace links the names that others look for to it."""

TIERS: Final = ("haiku", "sonnet", "opus")
"""Models that Claude Code knows by these names alone."""

_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may have in a text as it is, and YAML may not."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a harness is given."""

    files: Mapping[str, str] = field(repr=False)
    """Text by path in the agent's folder."""
    args: tuple[str, ...] = ()
    model: str | None = None


def json_text(document: Mapping[str, object]) -> str:
    """Write a settings file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def with_front_matter(fields: Mapping[str, str | Sequence[str]], body: str) -> str:
    """Write a Markdown file with front matter in YAML, of which a JSON string or array is a part."""
    lines = [f"{name}: {_yaml(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---", "", body.strip("\n"), ""])


def _yaml(value: str | Sequence[str]) -> str:
    # YAML's \u is four digits as JSON's, but JSON leaves more characters unescaped.
    written = json.dumps(value if isinstance(value, str) else [*value], ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def description(subagent: WantedSubagent) -> str:
    """Say in a line what a subagent is for: the beginning of its instruction."""
    lines = [line.strip(" #\t") for line in subagent.instruction.splitlines()]
    return next((line for line in lines if line), subagent.name)[:300]


def sections(agent: WantedAgent, model: str) -> str:
    """Describe the subagents to a harness that has none: each is a part that it plays."""
    parts = [
        f"# {agent.name}",
        "",
        "You work for others in the roles below. Choose the one whose instructions fit the task, and follow them.",
        "",
    ]
    for subagent in agent.subagents:
        parts += [f"## {subagent.name}", "", _below(subagent.instruction)]
        if subagent.servers:
            parts += ["", "In this role, use the tools of these MCP servers only: " + ", ".join(subagent.servers) + "."]
        if subagent.model is not None and subagent.model != model:
            parts += ["", f"This role was meant for the model {subagent.model}."]
        parts.append("")
    return "\n".join(parts)


def _below(text: str) -> str:
    """Keep headings of an instruction below that of its section."""
    return re.sub(r"^(#{1,4})(?=\s)", r"##\1", text.strip("\n"), flags=re.MULTILINE)


def refuse_cwd(server: WantedServer, harness: str) -> None:
    """Make sure that a server is started where the harness starts it.

    Raises
    ------
    InvalidRequestError
        If it is to be elsewhere.
    """
    if server.cwd is not None:
        field = f"json_config.mcp.servers.{server.name}.cwd"
        raise InvalidRequestError(field, f"{harness} starts servers in the agent's folder; leave it out")


def refuse_tier(model: str | None, harness: str, example: str, path: str = "json_config.default_model") -> str | None:
    """Give a model's name as it is, unless it is one that only Claude Code knows.

    Raises
    ------
    InvalidRequestError
        If it is.
    """
    if model in TIERS:
        raise InvalidRequestError(path, f"found {model}, which is Claude's; name one that {harness} knows: {example}")
    return model
