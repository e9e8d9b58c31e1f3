"""The ``[[triggers]]`` tables of a jcard: what starts its agents from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import check_name, check_variable
from agentd.jcard.declarations import Declaration
from agentd.jcard.explain import Fault
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.jcard.paths import resolve
from agentd.jcard.positions import Path
from agentd.jcard.rule_tables import read_fields, refuse, tables_of
from agentd.model.order import Overlap
from agentd.model.spec import AGENT_NAME, ENVIRONMENT_NAME, LoadContext, RestartPolicy
from agentd.model.triggers import WEBHOOK_VARIABLES, FilePattern, Trigger, Webhook
from agentd.text.prompt_variables import PLACEHOLDER, malformed_in, variables_in
from agentd.text.quoting import quote, some

TABLE: Final = "triggers"

_VARIABLE: Final = r"[a-z][a-z0-9_]{0,31}"
_PLACE: Final = r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,9}"
_MOST_INPUTS: Final = 16
_WILD: Final = re.compile(r"[*?\[]")


class TriggerTable(BaseModel):
    """One ``[[triggers]]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="What it is called in events and by status.",
        json_schema_extra={"pattern": f"^(?:{AGENT_NAME})$"},
    )
    agent: str = Field(
        description="Whom it starts: the name of an agent of the same file, without replicas and schedule."
    )
    file: str | None = Field(
        None,
        description="Which files, once one appears: a path whose last part may have *, ? and [...], such as "
        "~/inbox/*.csv; a relative one starts at the folder of this file. The prompt has {{ trigger.path }} and "
        "{{ trigger.name }}.",
    )
    secret: Annotated[str, AfterValidator(check_variable)] | None = Field(
        None,
        description="Instead of file, in jcard.toml alone: name of the secret with which a webhook is signed, POST "
        "/triggers/NAME of agentd-gateway. It reaches only agents that list it.",
        json_schema_extra={"pattern": f"^(?:{ENVIRONMENT_NAME})$"},
    )
    events: list[str] = Field(
        [],
        description="Of a webhook: which events count, by the header X-GitHub-Event. Default: all but ping.",
    )
    inputs: dict[str, str] = Field(
        {},
        description="Of a webhook: what the prompt has as {{ trigger.NAME }}, each by its path in the body, such as "
        'url = "pull_request.html_url". It has event and delivery besides.',
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
    table = None if unknown or missing else read_fields(path, TriggerTable, raw, findings)
    if table is not None and (table.file is None) == (table.secret is None):
        refuse(path, Fault((), "expected file or secret, and not both: what starts the agent"), findings)
        return None
    return table


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
    if table.file is None:
        return _webhook(path, table, context, findings)
    for field in ("events", "inputs"):
        if getattr(table, field):
            refuse(path, Fault((field,), "is for webhooks, which have a secret; this trigger has a file"), findings)
            return None
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


def _webhook(path: Path, table: TriggerTable, context: LoadContext, findings: Findings) -> Trigger | None:
    assert table.secret is not None
    fault = None
    if context.drop_in:
        fault = Fault(("secret",), "is for jcard.toml itself: agentd-gateway takes webhooks for no drop-in")
    if len(table.inputs) > _MOST_INPUTS:
        fault = Fault(("inputs",), f"found {len(table.inputs)} inputs, expected at most {_MOST_INPUTS}")
    for name, place in table.inputs.items():
        if not re.fullmatch(_VARIABLE, name, re.ASCII) or name in WEBHOOK_VARIABLES:
            fault = Fault(
                ("inputs", name),
                f"found {quote(name)}, expected a name of small letters, digits and _, other than "
                f"{' and '.join(WEBHOOK_VARIABLES)}",
            )
        elif not re.fullmatch(_PLACE, place, re.ASCII):
            fault = Fault(("inputs", name), f'found {quote(place)}, expected a path such as "pull_request.html_url"')
    if fault is not None:
        refuse(path, fault, findings)
        return None
    webhook = Webhook(table.secret, tuple(table.events), tuple(table.inputs.items()))
    return Trigger(table.name, table.agent, webhook, table.overlap)


def webhook_secrets(triggers: Iterable[Trigger]) -> frozenset[str]:
    """Name the secrets that webhooks are signed with: an agent that had one could start others."""
    return frozenset(each.source.secret for each in triggers if isinstance(each.source, Webhook))


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
