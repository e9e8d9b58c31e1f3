"""The table [otel] of a jcard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.jcard.load import load_jcard
from agentd.jcard.secrets import Secrets, missing_headers, withheld_secrets
from agentd.model.telemetry import Signal, Telemetry
from tests.jcard.loading import CONTEXT, load

GOOD = """
[otel]
endpoint = "https://otel.example.com:4318/"
headers = { Authorization = "OTEL_TOKEN", x-tenant = "TENANT" }
service_name = "agents"
attributes = { "deployment.environment.name" = "prod" }
send = ["traces", "logs"]
content = true
interval = "15s"
certificate = "ca.pem"
"""


def test_the_table_is_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    assert result.telemetry == Telemetry(
        "https://otel.example.com:4318",
        (("authorization", "OTEL_TOKEN"), ("x-tenant", "TENANT")),
        "agents",
        (("deployment.environment.name", "prod"),),
        frozenset({Signal.TRACES, Signal.LOGS}),
        content=True,
        interval=15.0,
        certificate=str(CONTEXT.folder / "ca.pem"),
    )


def test_what_agents_say_is_not_sent_unless_that_is_declared() -> None:
    assert load("").telemetry is None
    assert load('[otel]\nendpoint = "http://127.0.0.1:4318"').telemetry == Telemetry("http://127.0.0.1:4318")
    assert not Telemetry("http://127.0.0.1:4318").content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[otel]", "endpoint: missing"),
        ('[otel]\nendpoint = "127.0.0.1:4318"', "expected the base of OTLP over HTTP"),
        ('[otel]\nendpoint = "http://me:geheim@127.0.0.1"', "expected a URL without a user"),
        ('[otel]\nendpoint = "http://a"\ninterval = "10ms"', 'expected at least "1s"'),
        ('[otel]\nendpoint = "http://a"\nsend = ["profiles"]', "otel.send[0]"),
        ('[otel]\nendpoint = "http://a"\nheaders = { "a b" = "X" }', "expected the name of an HTTP header"),
        ('[otel]\nendpoint = "http://a"\nheaders = { Host = "X" }', "which OTLP sets itself"),
        ('[otel]\nendpoint = "http://a"\nheaders = { authorization = "Bearer x" }', "environment variable name"),
        ('[otel]\nendpoint = "http://a"\nheaders = { A = "X", a = "Y" }', "twice"),
        ('[otel]\nendpoint = "http://a"\nattributes = { "service.name" = "x" }', "service_name"),
        ("[[otel]]\nx = 1", "expected a table: write [otel]"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    result = load(text)
    assert any(message in str(problem) for problem in result.errors), result.problems
    assert "geheim" not in str(result.problems)


def test_an_unknown_key_is_a_warning_with_advice() -> None:
    result = load('[otel]\nendpoint = "http://a"\nheader = {}')
    assert result.valid
    assert 'did you mean "headers"?' in str(result.warnings[0])


def test_a_drop_in_declares_no_telemetry() -> None:
    result = load_jcard(GOOD.encode(), "x.toml", replace(CONTEXT, drop_in=True))
    assert result.telemetry is None
    assert "ignored" in str(result.warnings[0])


def test_the_secrets_of_headers_reach_only_agents_that_list_them() -> None:
    assert withheld_secrets([load(GOOD)]) == {"OTEL_TOKEN", "TENANT"}


def test_a_secret_that_is_missing_is_a_warning() -> None:
    telemetry = load(GOOD).telemetry
    assert missing_headers(telemetry, Secrets({"TENANT": "x"})) == (
        'secret "OTEL_TOKEN" does not exist; [otel] sends it in a header',
    )
    assert missing_headers(telemetry, Secrets(unlisted="it is away")) == ()
    assert missing_headers(None, Secrets()) == ()
