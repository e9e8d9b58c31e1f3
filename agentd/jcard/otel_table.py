"""The table ``[otel]`` of a jcard: what is sent to a collector of OpenTelemetry. A drop-in's is passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import check_not_empty, check_path, check_variable
from agentd.jcard.explain import Fault
from agentd.jcard.field_types import Duration
from agentd.jcard.findings import Findings
from agentd.jcard.part_table import read_table
from agentd.jcard.paths import resolve
from agentd.model.spec import LoadContext
from agentd.model.telemetry import INTERVAL, SERVICE, Signal, Telemetry
from agentd.text.durations import format_duration
from agentd.text.quoting import quote

TABLE: Final = "otel"

SHORTEST_INTERVAL: Final = 1.0

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token, source: RFC 9110, 5.6.2."""
_OF_OTLP: Final = frozenset({"content-type", "content-encoding", "content-length", "host", "transfer-encoding"})
_OF_RESOURCE: Final = frozenset({"service.name", "service.version"})


def _check_endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment
        user = parts.username
    except ValueError:
        usable, user = False, None
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        # It may hold a token, so it is not shown.
        raise ValueError('expected the base of OTLP over HTTP, such as "http://127.0.0.1:4318"')
    if user is not None:
        raise ValueError("expected a URL without a user: name a secret in headers, and the header authorization")
    return text.rstrip("/")


def _check_header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"found {quote(name)}, expected the name of an HTTP header")
    if name.lower() in _OF_OTLP:
        raise ValueError(f"found {quote(name)}, which OTLP sets itself; expected another header")
    return name


def _check_attribute(name: str) -> str:
    if name in _OF_RESOURCE:
        raise ValueError(f"found {quote(name)}, which agentd sets (service_name); expected another attribute")
    return check_not_empty(name)


def _check_interval(seconds: float) -> float:
    if seconds < SHORTEST_INTERVAL:
        least = format_duration(SHORTEST_INTERVAL)
        raise ValueError(f'found "{format_duration(seconds)}", expected at least "{least}"')
    return seconds


class OtelTable(BaseModel):
    """The ``[otel]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        None,
        description="Where OTLP is taken over HTTP, without /v1/traces at its end. Needed: nothing is sent without it.",
    )
    headers: dict[Annotated[str, AfterValidator(_check_header)], Annotated[str, AfterValidator(check_variable)]] = (
        Field({}, description="Headers of each request: by its name, the name of the secret that holds the value.")
    )
    service_name: Annotated[str, AfterValidator(check_not_empty)] = Field(
        SERVICE, description="The resource attribute service.name."
    )
    attributes: dict[Annotated[str, AfterValidator(_check_attribute)], str] = Field(
        {}, description="Further attributes of the resource, such as deployment.environment.name."
    )
    send: list[Annotated[Signal, Field(strict=False), WithJsonSchema({"enum": [*Signal]})]] = Field(
        [*Signal], description="What is sent."
    )
    content: bool = Field(
        default=False,
        description="Whether what agents are told, what they answer and what they use tools for is sent, too.",
    )
    interval: Annotated[Duration, AfterValidator(_check_interval)] = Field(
        INTERVAL,
        description="How often metrics are sent.",
        json_schema_extra={"default": format_duration(INTERVAL)},
    )
    certificate: Annotated[str, AfterValidator(check_not_empty), AfterValidator(check_path)] | None = Field(
        None, description="File of the certificates that the endpoint's is checked by. Default: the public ones."
    )


def read_otel(document: Mapping[str, object], context: LoadContext, findings: Findings) -> Telemetry | None:
    """Read the table; ``None`` where there is none, or the findings have what is wrong with it."""
    if context.drop_in:
        if TABLE in document:
            findings.warning((TABLE,), "ignored: what is sent to a collector stands in the jcard itself", field=TABLE)
        return None
    table = read_table(TABLE, OtelTable, document, findings, _contradictions)
    if table is None or table.endpoint is None:
        return None
    return Telemetry(
        endpoint=table.endpoint,
        headers=tuple(sorted((name.lower(), secret) for name, secret in table.headers.items())),
        service_name=table.service_name,
        attributes=tuple(sorted(table.attributes.items())),
        send=frozenset(table.send),
        content=table.content,
        interval=table.interval,
        certificate=None if table.certificate is None else str(resolve(table.certificate, context)),
    )


def _contradictions(table: OtelTable) -> list[Fault]:
    found = []
    if table.endpoint is None:
        found.append(Fault(("endpoint",), 'missing, expected a URL such as "http://127.0.0.1:4318"'))
    lowered = [name.lower() for name in table.headers]
    twice = sorted({name for name in lowered if lowered.count(name) > 1})
    if twice:
        found.append(Fault(("headers",), f"found {quote(twice[0])} twice; case does not count in headers"))
    return found
