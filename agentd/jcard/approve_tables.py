"""The ``[[approve]]`` tables of a jcard: what agents may do without anybody being asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import PurePath
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from agentd.jcard.explain import Fault
from agentd.jcard.field_types import Duration
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.jcard.positions import Path
from agentd.jcard.problems import LoadResult
from agentd.jcard.rule_tables import read_fields, refuse, tables_of
from agentd.model.approvals import ApprovalAction, ApprovalRule
from agentd.model.notification import NotifyRule
from agentd.text.durations import format_duration
from agentd.text.quoting import quote, show

TABLE: Final = "approve"


def _check_pattern(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a name or a pattern with * and ?, found nothing")
    return text


def _check_command(text: str) -> str:
    first = next(iter(text.split()), "")
    if not first.strip("*?"):
        raise ValueError(
            f'found {show(text)}, expected the name of a program first, such as "git status*"; without commands a rule '
            "is for all of them"
        )
    return text


def _check_path(text: str) -> str:
    if not text or text.startswith("~") or ".." in PurePath(text).parts:
        raise ValueError(
            f'found {show(text)}, expected a path such as "src/**" or "/etc/**", without ~ and ..: a relative one '
            "starts at the agent's workdir"
        )
    return text


def _check_some(patterns: list[str]) -> list[str]:
    if not patterns:
        raise ValueError("expected at least one pattern, found none; without the field the rule is about all")
    return patterns


def _check_timeout(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"found {show(format_duration(seconds))}, expected more than 0")
    return seconds


_NOT_EMPTY: Final = Field(json_schema_extra={"minItems": 1})
_Patterns = Annotated[list[Annotated[str, AfterValidator(_check_pattern)]], _NOT_EMPTY, AfterValidator(_check_some)]
_Commands = Annotated[list[Annotated[str, AfterValidator(_check_command)]], _NOT_EMPTY, AfterValidator(_check_some)]
_Paths = Annotated[list[Annotated[str, AfterValidator(_check_path)]], _NOT_EMPTY, AfterValidator(_check_some)]


class ApproveTable(BaseModel):
    """One ``[[approve]]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    decision: Annotated[ApprovalAction, Field(strict=False), WithJsonSchema({"enum": [*ApprovalAction]})] = Field(
        description="allow or deny what the rule is about, or ask: somebody decides, as without any rule."
    )
    name: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        None, description="What the rule is called where it decides. Default: the file and line."
    )
    agents: _Patterns | None = Field(
        None, description="Whose requests: names, or patterns with * and ?. Default: every agent's."
    )
    tools: _Patterns | None = Field(
        None,
        description="For which tools, as the agent's program names them, without regard to case: Bash, Edit, mcp__*. "
        "Default: every tool.",
    )
    commands: _Commands | None = Field(
        None,
        description='Which commands, word by word: "npm test" is that alone, "git status*" may have more words. All '
        "commands of a line must match for allow, any of them for deny.",
    )
    paths: _Paths | None = Field(
        None,
        description="Which files of tools that work on files: * is within a folder, ** any depth. Relative ones start "
        "at the agent's workdir.",
    )
    whom: _Patterns | None = Field(
        None, description="With ask: who is told, by the [[notify]] tables that have one of these names in their whom."
    )
    timeout: Annotated[Duration, AfterValidator(_check_timeout)] | None = Field(
        None, description="With ask: denied if nobody has answered by then. Default: it waits."
    )


def read_approvals(document: Mapping[str, object], findings: Findings, file: str) -> tuple[ApprovalRule, ...]:
    """Read the rules of a file; with an error in one, the findings have it."""
    read = (_read_rule(path, table, findings, file) for path, table in tables_of(TABLE, document, findings))
    return tuple(rule for rule in read if rule is not None)


def _read_rule(path: Path, raw: Mapping[str, object], findings: Findings, file: str) -> ApprovalRule | None:
    def error(fault: Fault) -> None:
        refuse(path, fault, findings)

    unknown = [key for key in raw if key not in ApproveTable.model_fields]
    for key in unknown:
        # A rule that lacks a condition would be about more than it says.
        close = get_close_matches(key.casefold(), ApproveTable.model_fields, n=1)
        error(Fault((key,), f"unknown key{did_you_mean(close[0] if close else None)}"))
    if "decision" not in raw:
        error(Fault((), 'decision is missing: "allow", "deny" or "ask"'))
    if unknown or "decision" not in raw:
        return None
    table = read_fields(path, ApproveTable, raw, findings)
    if table is None:
        return None
    if table.decision is not ApprovalAction.ASK:
        for field, value in (("whom", table.whom), ("timeout", table.timeout)):
            if value is not None:
                error(Fault((field,), f'is for decision = "ask"; this rule says {show(table.decision.value)}'))
                return None
    return ApprovalRule(
        name=table.name or f"{PurePath(file).name}:{findings.position(path).line}",
        action=table.decision,
        agents=None if table.agents is None else tuple(table.agents),
        tools=None if table.tools is None else tuple(table.tools),
        commands=tuple(table.commands or ()),
        paths=tuple(table.paths or ()),
        whom=tuple(table.whom or ()),
        timeout=table.timeout,
    )


def approvals_in_force(jcard: LoadResult | None, drop_ins: Sequence[LoadResult | None]) -> tuple[ApprovalRule, ...]:
    """Give the rules of all files in force, the jcard's first: those of a drop-in are for its own agents alone."""
    own = [
        replace(rule, declared=frozenset(agent.name.lower() for agent in file.agents))
        for file in drop_ins
        if file is not None
        for rule in file.approvals
    ]
    return (*(() if jcard is None else jcard.approvals), *own)


def nobody_told(rules: Sequence[ApprovalRule], notify: Sequence[NotifyRule]) -> tuple[str, ...]:
    """Warn of names in ``whom`` that no ``[[notify]]`` has."""
    known = {name for each in notify for name in each.whom or ()}
    missing = dict.fromkeys((rule.name, name) for rule in rules for name in rule.whom if name not in known)
    return tuple(
        f"[[approve]] {rule}: nobody is told, no [[notify]] has whom = [{quote(name)}]" for rule, name in missing
    )
