"""Writes docs/man and the parts of docs/reference that the code knows; ``--check`` says whether they are up to date."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agentd import __version__
from agentd.api.openapi import describe
from agentd.api.routes import ROUTES
from agentd.cli.agentctl.commands.help import MANUAL_PAGES, manual_page
from agentd.gateway.command_line import build_parser
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.harness.base import Harness
from agentd.harness.builtin import BUILT_IN
from agentd.jcard.reference import field_rows, field_table
from agentd.jcard.schema import (
    approve_schema,
    budget_schema,
    drop_in_schema,
    gateway_schema,
    limits_schema,
    notify_schema,
    otel_schema,
    place_schema,
    pool_schema,
    pools_schema,
    triggers_schema,
)
from agentd.model.events import DETAILS, EVENT_DOCS, EventKind
from agentd.recording.journal.database import TOTAL_BYTES
from agentd.recording.journal.journal import UNCLEAN_GAP, JournalLimits
from agentd.recording.metrics.answer import LOOK_AFTER, STALE_AFTER
from agentd.recording.metrics.measures import METRICS
from agentd.settings.flags import GATEWAY_FIELDS, OPTIONS
from agentd.settings.logs import SHORTEST_REDACTED

FOLDER = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by scripts/reference.py from the code: `make docs`. -->\n"


def jcard() -> str:
    """Describe the file."""
    drop_in = field_rows(drop_in_schema())
    return f"""{NOTE}
# jcard.toml

`[agent]` declares one agent, `[[agents]]` as many as you like; both may stand in one file. Every other table belongs to
other programs and is ignored. An unknown key inside an agent table is a warning, and so is a table that was meant as
one (`[[agnets]]`, `[Agent]`). A jcard is TOML 1.0. Jcards of the Go agentd are taken;
[Coming from the Go agentd](../coming-from-the-go-agentd.md) says what differs.

{field_table()}
- A duration is written as in Go: `300ms`, `1.5h`, `1h30m`. A bare number is an error.
- A size is written with `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`, in any case, or is a number of bytes.
- Relative paths start at the folder of the file that names them, `~` at the home of the agents' user.
- An empty text means that a field is not set, except in lists and in `env`: that is how generated jcards write it.
- `sandbox`, `network`, `read_only_paths` and `writable_paths` are ignored, with a warning, where
  `type` is not `"sandboxed"`; `extra_packages` are an error there, unless there are none.
- `$HOME` and `${{X}}` are expanded nowhere, and `~` only in paths of fields; what looks
  as if it was meant to be is a warning.
- `agentctl schema` prints the JSON Schema, for completion and checks in editors.
- `agentctl validate` checks a file without a daemon.

## Place

`[agents.place]`, or `[agent.place]`, says where an agent may run in a [fleet of hosts](../explanation/fleet.md):

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(place_schema())}
## Drop-ins

Every `*.toml` in the folder `jcard.d` beside `jcard.toml` (`--config-dir`), and in its direct subfolders, declares
agents in the same way; hidden files and folders are not looked at. A subfolder's name is the `owner` of its agents.
What stands in the table `[drop_in]` of such a file:

| field | type | default | meaning |
| --- | --- | --- | --- |
{drop_in}
[Declare agents in several files](../how-to/drop-ins.md) says how they are taken together.

## Notifications

`[[notify]]`, in a jcard or drop-in, says who is told what happens: [Be told](../how-to/notifications.md).

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(notify_schema())}
## Approvals

`[[approve]]`, in a jcard or drop-in, says what agents may do without anybody being asked:
[Decide approvals by rule](../how-to/approvals.md).

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(approve_schema())}
## Triggers

`[[triggers]]`, in a jcard or drop-in, says what starts its agents from outside:
[Start agents by what comes](../how-to/triggers.md).

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(triggers_schema())}
## Gateway

`[gateway]`, in `jcard.toml` alone, is what [agentd-gateway](gateway.md) goes by; agentd passes over it.
An error in it is a warning of agentd, which starts agents all the same; agentd-gateway does not start with it, and one
that runs goes on by what it read before.

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(gateway_schema())}
`[[gateway.tokens]]` has:

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(gateway_schema()["properties"]["tokens"]["items"])}
`[[gateway.channels]]` has, as has `pubsub_config` of a managed agent but for `agent` and `user`:

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(gateway_schema()["properties"]["channels"]["items"])}
## Budgets

`budget` of an agent has these, and so has the table `[budget]`, in `jcard.toml` alone: what an agent does not say
itself it has from there, and a worker from the agent that spawned it. [Hold agents to a budget](../how-to/budgets.md).

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(budget_schema())}
## Queue

`[limits]`, in `jcard.toml` alone, is what [all agents share](../how-to/queue.md); who does not fit is `queued`.

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(limits_schema())}
`[[pools]]`, there too, has slots for some of them:

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(pools_schema())}
## Workers

`[pool]`, in `jcard.toml` alone, is what holds for [workers](../how-to/workers.md), the agents of the owner `workers`.

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(pool_schema())}
`[[pool.providers]]` has:

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(pool_schema()["properties"]["providers"]["items"])}
## OpenTelemetry

`[otel]`, in `jcard.toml` alone, says what is sent [to a collector](../how-to/opentelemetry.md).

| field | type | default | meaning |
| --- | --- | --- | --- |
{field_rows(otel_schema())}
## Harnesses

| `harness` | program |
| --- | --- |
{"".join(f"| `{name}` | {program(harness)} |{chr(10)}" for name, harness in BUILT_IN.items())}
The program is looked up on the *agent's* PATH. `custom` runs `command`, in which `{{prompt}}` stands for the prompt;
where it does not stand, the prompt is the last argument. `acp` runs `command`, which it must have, and
talks with it by the Agent Client Protocol; the prompt is the first message. A package adds a harness by the entry
point group `agentd.harnesses`; the docstring of `agentd.harness.base` shows how.
"""


def program(harness: Harness) -> str:
    """Name a harness' program, as far as it has one without a command."""
    return f"`{harness.binary}`" if harness.facts.renderer is None else "`command`"


def piped(text: str) -> str:
    """Write a text that a table's cell may hold, in code too, where no entity counts."""
    return text.replace("|", r"\|")


def flags() -> str:
    """Describe the daemon's flags."""
    rows = "".join(
        f"| `{option.flag} {piped(option.metavar)}` | {option.help} | {option.as_root or option.default_text} "
        f"| {option.as_user or option.default_text} | {f'`{option.environment}`' if option.environment else ''} |\n"
        for option in OPTIONS
    )
    return f"""{NOTE}
# Flags of agentd

Each may also be written with one dash. A flag wins over its environment variable, and that over the default.

| flag | meaning | default as root | default as a user | environment |
| --- | --- | --- | --- | --- |
{rows}
Beside them: `--debug`, `--check`, `--version`, `--help`. `agentctl` finds the sockets by the same flags and variables.
"""


def gateway() -> str:
    """Describe the gateway's flags and routes."""
    shared = ", ".join(f"`--{field.replace('_', '-')}`" for field in GATEWAY_FIELDS)
    flags = "".join(
        f"| `{action.option_strings[0]}{f' {action.metavar}' if action.metavar else ''}` | {action.help} |\n"
        for action in build_parser()._actions
        if action.option_strings and action.dest not in {*GATEWAY_FIELDS, "help"}
    )
    routes = "".join(
        f"| `{route.method} {route.path}` | {route.summary} | {route.scope or ''} |\n"
        for route in (*TWICE, *AT_THE_ROOT)
        if route.shown
    )
    return f"""{NOTE}
# agentd-gateway

[Talk to agents from elsewhere](../how-to/gateway.md) shows its use; its settings in the jcard are
[the table `[gateway]`](jcard.md#gateway).

| flag | meaning |
| --- | --- |
{flags}
Beside them, as [of agentd](flags.md): {shared}.

## Routes

Sessions, runs and events are below `/api/v1`, too. `/openapi.json` describes bodies and answers. With a token
configured, all but those without a scope need `Authorization: Bearer TOKEN`.

| route | meaning | scope |
| --- | --- | --- |
{routes}
An error is `{{"error": {{"code", "message"}}}}` with the right status; below `/v1` it has OpenAI's form.
"""


def api() -> str:
    """Describe the status API."""
    document: dict[str, Any] = dict(describe(ROUTES, __version__))
    paths, components = document["paths"], document["components"]
    parts = [NOTE, "# Status API\n", _API_INTRODUCTION]
    for path, operations in paths.items():
        operation = operations["get"]
        parts.append(f"## `GET {path}`\n\n{operation.get('description') or operation.get('summary', '')}\n")
        query = [parameter for parameter in operations["parameters"] if parameter["in"] == "query"]
        if query:
            rows = "".join(f"| `{each['name']}` | {each['description']} |\n" for each in query)
            parts.append(f"| query | meaning |\n| --- | --- |\n{rows}")
        parts += [
            f"`{media_type}`: {content['schema']['description']}\n"
            for media_type, content in operation["responses"]["200"]["content"].items()
            if "description" in content["schema"]
        ]
    parts.append("## Values\n")
    for name, schema in components["schemas"].items():
        rows = "".join(
            f"| `{field}` | {_type(value)} | {value.get('description', '')} |\n"
            for field, value in schema.get("properties", {}).items()
        )
        parts.append(
            f"### {name}\n\n{schema.get('description', '')}\n\n| field | type | meaning |\n| --- | --- | --- |\n{rows}"
        )
    return "\n".join(parts)


_API_INTRODUCTION = """\
HTTP on a Unix socket (mode 0660, admin group), read only: GET and HEAD; everything else is 405. Answers are JSON in
UTF-8; an error is `{"error": "..."}` with the right status. `/v1/openapi.json` is the same as a document for programs.

    curl --unix-socket $XDG_RUNTIME_DIR/agentd/agentd.sock http://localhost/v1/health
"""


def _type(schema: dict[str, object]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key in ("anyOf", "oneOf"):
        choices = schema.get(key)
        if isinstance(choices, list):
            return " or ".join(_type(choice) for choice in choices)
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict):
        return f"array of {_type(items)}"
    return str(kind)


def events() -> str:
    """Describe the kinds of events."""
    kinds = "".join(
        f"| `{kind}` | {doc.meaning} | {', '.join(f'`{name}`' for name in doc.data)} |\n"
        for kind, doc in EVENT_DOCS.items()
    )
    details = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in DETAILS.items())
    limits = JournalLimits()
    return f"""{NOTE}
# Events

What happens is kept in a journal: read it with `agentctl events` or `GET /v1/events`. The set of kinds is open: whoever
reads events passes over kinds they do not know.

| kind | what happened | values in `data` |
| --- | --- | --- |
{kinds}
| value in `data` | meaning |
| --- | --- |
{details}
`reason` is for people, and values of secrets (of at least {SHORTEST_REDACTED} characters) are taken out of it; `data`
holds names, numbers and states only.

## Files

`STATE/journal/events.db`, mode 0600, is an SQLite database in WAL mode, with one table, `events`: `seq`, `time`
(milliseconds since the epoch), `agent`, `kind`, and `event`, the JSON that the API shows. The oldest events are removed
when it is about to take more than {TOTAL_BYTES >> 20} MiB. The state directory must be on a file system with POSIX
locks and shared memory maps; all local ones have them.

A database that is damaged is set aside as `damaged.db`, with a line in the log, and a new one is begun; `sqlite3
damaged.db .recover` saves what can be saved. If agentd starts with it and cannot read its last number, numbers go on
from the milliseconds since the epoch, which is more than any former one.

Files of the former format, `NUMBER.jsonl`, are neither read nor removed; numbers go on after theirs.

An event is written within {int(limits.gather * 1000)} ms, and survives a power failure {limits.sync:g} s later.
Numbers only grow, over restarts of the daemon too. After a daemon that did not end in order (SIGKILL, a power failure)
{UNCLEAN_GAP} numbers are passed over, so that none is ever given twice; a gap alone therefore means no loss: an event
of the kind `{EventKind.EVENTS_LOST}` does.
"""


def metrics() -> str:
    """Describe the metrics."""
    rows = "".join(
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |\n"
        for metric in METRICS
    )
    return f"""{NOTE}
# Metrics

`GET /metrics` on the API socket, in Prometheus' text format. Beside these there are the `process_*` of the daemon
itself, as prometheus-client gives them.

| name | type | labels | meaning |
| --- | --- | --- | --- |
{rows}
Counters begin with the daemon. What agents' processes use is looked at when somebody scrapes, at most every
{LOOK_AFTER:g} s; a scraper is shown the look that its last scrape began, unless that is older than {STALE_AFTER:g} s.
What a process used that began and ended between two looks, unawaited and outside a control group of the agent's own,
is not seen.

A process belongs to an agent if it descends from the launcher of its pane, is in the launcher's session, or was started
with the run's `AGENTD_RUN_ID`. `packaging/grafana-dashboard.json` shows all of it.
"""


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/jcard.md": jcard,
    "reference/flags.md": flags,
    "reference/api.md": api,
    "reference/gateway.md": gateway,
    "reference/events.md": events,
    "reference/metrics.md": metrics,
    **{f"man/{name}": partial(manual_page, name) for name in MANUAL_PAGES},
}


def unlisted() -> list[str]:
    """Name the pages that nobody finds: docs/README.md leads to all, docs/how-to/README.md to those of its folder."""
    said = []
    for index, found in ((FOLDER / "README.md", "**/*"), (FOLDER / "how-to/README.md", "*")):
        listed = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", index.read_text())}
        pages = {path for path in index.parent.glob(found) if path.suffix in (".md", ".1")} - {index}
        missing = sorted(path.relative_to(index.parent) for path in pages if path.resolve() not in listed)
        said += [f"{index.relative_to(FOLDER.parent)}: expected a link to {path}, found none\n" for path in missing]
    return said


def main() -> int:
    """Write the pages, or compare them, and look whether each page can be found."""
    stale = []
    for name, write in PAGES.items():
        page, text = FOLDER / name, write()
        if page.exists() and page.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)
    verb = "out of date, run make docs" if "--check" in sys.argv else "written"
    lost = unlisted()
    sys.stdout.write("".join([*(f"docs/{name}: {verb}\n" for name in stale), *lost]))
    return 1 if (stale or lost) and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
