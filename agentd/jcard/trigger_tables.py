"""The ``[[triggers]]`` tables of a jcard: what starts its agents from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from agentd.jcard.declarations import Declaration
from agentd.jcard.explain import Fault
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.jcard.paths import resolve
from agentd.jcard.positions import Path
from agentd.jcard.rule_tables import read_fields, refuse, tables_of
from agentd.model.order import Overlap
from agentd.model.spec import LoadContext, RestartPolicy
from agentd.model.triggers import FilePattern, Trigger
from agentd.text.prompt_variables import PLACEHOLDER, malformed_in, variables_in
from agentd.text.quoting import quote, some

TABLE: Final = "triggers"

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
_WILD: Final = re.compile(r"[*?\[]")


class TriggerTable(BaseModel):
    """One ``[[triggers]]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    name: Annotated[str, Field(pattern=_NAME)] = Field(description="What it is called in events and by status.")
    agent: str = Field(
        description="Whom it starts: the name of an agent of the same file, without replicas and schedule."
    )
    file: Annotated[str, Field(min_length=1)] = Field(
        description="Which files, once one appears: a path whose last part may have *, ? and [...], such as "
        "~/inbox/*.csv; a relative one starts at the folder of this file. The prompt has {{ trigger.path }} and "
        "{{ trigger.name }}."
    )
    overlap: Annotated[Overlap, Field(strict=False), WithJsonSchema({"enum": [*Overlap]})] = Field(
        Overlap.QUEUE,
        description="What follows what comes while a run is not over: queue makes a run of each, one after the other, "
        "skip leaves it out, stop ends the run for it.",
    )


def read_triggers(
    document: Mapping[str, object], declarations: Sequence[Declaration], context: LoadContext, findings: Findings
) -> Mapping[str, tuple[Trigger, ...]]:
    """Read the triggers of a file, by agent; with an error in one, the findings have it."""
    found: dict[str, list[Trigger]] = {}
    taken: dict[str, Path] = {}
    for path, raw in tables_of(TABLE, document, findings):
        table = _read_table(path, raw, findings)
        if table is None:
            continue
        namesake = taken.setdefault(table.name.casefold(), path)
        declaration = _agent_of(path, table, declarations, findings)
        if namesake is not path:
            line = findings.position(namesake).line
            message = f"found {quote(table.name)}, which is already taken by the trigger at line {line}"
            refuse(path, Fault(("name",), message), findings)
        trigger = _trigger(path, table, context, findings)
        if declaration is not None and trigger is not None:
            found.setdefault(table.agent, []).append(trigger)
    for declaration in declarations:
        triggers = found.get(declaration.name or "", [])
        if triggers:
            _check_prompt(declaration, triggers, findings)
    return {name: tuple(triggers) for name, triggers in found.items()}


def _read_table(path: Path, raw: Mapping[str, object], findings: Findings) -> TriggerTable | None:
    fields = TriggerTable.model_fields
    unknown = [key for key in raw if key not in fields]
    for key in unknown:
        # It may be what was to limit whom it starts.
        close = get_close_matches(key.casefold(), fields, n=1)
        refuse(path, Fault((key,), f"unknown key{did_you_mean(close[0] if close else None)}"), findings)
    missing = [name for name, field in fields.items() if field.is_required() and raw.get(name, "") == ""]
    for name in missing:
        refuse(path, Fault((), f"{name} is missing: {fields[name].description}"), findings)
    return None if unknown or missing else read_fields(path, TriggerTable, raw, findings)


def _agent_of(
    path: Path, table: TriggerTable, declarations: Sequence[Declaration], findings: Findings
) -> Declaration | None:
    message = None
    there = next((each for each in declarations if each.name == table.agent), None)
    if there is None:
        known = [quote(each.name) for each in declarations if each.name is not None]
        message = f"found {quote(table.agent)}, expected an agent of this file" + (
            f": {some(known)}" if known else "; it declares none"
        )
    elif there.written("replicas") not in (None, 1):
        message = f"found {quote(table.agent)}, which has replicas: a trigger starts one agent; leave replicas out"
    elif there.written("schedule") is not None:
        message = f"found {quote(table.agent)}, which has a schedule: that starts it without what a trigger brings"
    if message is not None:
        refuse(path, Fault(("agent",), message), findings)
        return None
    return there


def _trigger(path: Path, table: TriggerTable, context: LoadContext, findings: Findings) -> Trigger | None:
    where = resolve(table.file, context)
    folder, pattern = where.parent, where.name
    message = None
    if table.file.endswith("/") or not pattern:
        message = "expected files of a folder, such as ~/inbox/*.csv"
    elif _WILD.search(str(folder)):
        message = "expected *, ? and [...] in the last part alone: one trigger looks at one folder"
    elif any(not each.isprintable() for each in str(where)):
        message = "expected a path without control characters"
    if message is not None:
        refuse(path, Fault(("file",), f"found {quote(table.file)}, {message}"), findings)
        return None
    return Trigger(table.name, table.agent, FilePattern(folder, pattern), table.overlap)


def _check_prompt(declaration: Declaration, triggers: Sequence[Trigger], findings: Findings) -> None:
    table = declaration.table
    if table is None:
        return
    problem = None if table.prompt_file else prompt_problem(table.prompt, triggers)
    if problem is not None:
        declaration.error(findings, problem, "prompt")
    command = table.command
    for at, word in enumerate(command):
        # In a shell's command line, what came would be a command.
        if PLACEHOLDER in word and (word != PLACEHOLDER or (at and re.fullmatch(r"-\w*c", command[at - 1], re.ASCII))):
            message = (
                f"found {quote(word)}: beside a trigger, {PLACEHOLDER} must be a word by itself, and not one that a "
                'shell reads; give it as a parameter: ["sh", "-c", "… \\"$1\\"", "sh", "{prompt}"]'
            )
            declaration.error(findings, message, "command", at)
    if table.restart is RestartPolicy.ALWAYS:
        message = f"found {quote(RestartPolicy.ALWAYS)} beside a trigger: a run is never over, so nothing else is run"
        declaration.warning(findings, f"{message}; use {quote(RestartPolicy.ON_FAILURE)} or leave it out", "restart")


def prompt_problem(prompt: str, triggers: Sequence[Trigger]) -> str | None:
    """Say what is wrong with the variables of a prompt; ``None`` if nothing is."""
    malformed = malformed_in(prompt)
    if malformed is not None:
        return f"found {quote(malformed)}, expected a variable such as {{{{ trigger.{triggers[0].variables[0]} }}}}"
    for trigger in triggers:
        for name in variables_in(prompt):
            if name not in trigger.variables:
                brought = ", ".join(trigger.variables)
                return f"found {{{{ trigger.{name} }}}}, expected what the trigger {trigger.name} brings: {brought}"
    return None
