"""What an agent reaches by name, and secrets that it cannot read: as declared."""

from __future__ import annotations

import jsonschema
import pytest

from agentd.jcard.schema import jcard_schema
from agentd.model.destinations import Destination
from agentd.model.spec import EgressSecret, SandboxSpec
from tests.jcard.loading import load

BOUNDED = '[agent]\nname = "a"\nharness = "custom"\ntype = "sandboxed"\nnetwork = "none"\n'
GRANT = 'secrets = ["PLAIN", { name = "GITHUB_TOKEN", to = ["api.github.com", "GHE.corp:8443"], mode = "egress" }]\n'


def errors(text: str) -> list[str]:
    """What is said of a jcard."""
    return [problem.message for problem in load(text).errors]


def sandbox_of(text: str) -> SandboxSpec:
    """The sandbox of its only agent."""
    [spec] = load(text).agents
    return spec.sandbox


def test_what_is_reached_is_declared_by_name_and_port() -> None:
    listed = '["api.anthropic.com:443", "*.Example.com:8443", "10.0.0.0/8:5432", "[::1]:80", "localhost:1"]'
    assert sandbox_of(f"{BOUNDED}network_allow = {listed}\n").network_allow == (
        Destination("api.anthropic.com", 443),
        Destination("*.example.com", 8443),
        Destination("10.0.0.0/8", 5432),
        Destination("::1", 80),
        Destination("localhost", 1),
    )


def test_a_secret_for_hosts_alone_is_not_among_those_that_are_read() -> None:
    [spec] = load(BOUNDED + GRANT).agents
    assert spec.secrets == ("PLAIN",)
    hosts = (Destination("api.github.com", 443), Destination("ghe.corp", 8443))
    assert spec.sandbox.egress_secrets == (EgressSecret("GITHUB_TOKEN", hosts),)
    assert spec.sandbox.reach == hosts


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("api.example", "which has no port"),
        ("https://api.example:443", "without https://"),
        ("*:443", "expected host:port"),
        ("*.com:443", "stands for too much"),
        ("127.1:80", "expected host:port"),
        ("::1:80", "IPv6 address in [ ]"),
        ("10.0.0.1/8:80", "expected host:port"),
        ("a.example:0", "a port from 1 to 65535"),
        ("a.example:99999", "a port from 1 to 65535"),
        ("bücher.example:443", "xn--bcher-kva.example"),
        ("", "which has no port"),
    ],
)
def test_a_bad_destination_is_refused_where_it_stands(written: str, said: str) -> None:
    result = load(f'{BOUNDED}network_allow = ["good.example:443", "{written}"]\n')
    [problem] = result.errors
    assert said in problem.message
    assert "network_allow[1]" in str(problem)
    assert ":6:" in str(problem)


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ('{ name = "T", to = ["a.example"] }', 'secrets[0].mode: missing, expected "egress"'),
        ('{ name = "T", mode = "egress" }', "secrets[0].to: missing"),
        ('{ to = ["a.example"], mode = "egress" }', "secrets[0].name: missing"),
        ('{ name = "T", to = [], mode = "egress" }', "secrets[0].to: found an empty array"),
        ('{ name = "T", to = "a.example", mode = "egress" }', "secrets[0].to: found a string, expected an array"),
        ('{ name = "T", to = ["*.a.example"], mode = "egress" }', "the name of one host"),
        ('{ name = "T", to = ["10.0.0.1"], mode = "egress" }', "the name of one host"),
        ('{ name = "T", to = ["a.example"], mode = "Egress" }', 'did you mean "egress"?'),
        ('{ name = "T", to = ["a.example"], mode = "egress", host = "b" }', "unknown key in the table of a secret"),
        ('{ name = "1", to = ["a.example"], mode = "egress" }', "expected an environment variable name"),
        ('"T", { name = "T", to = ["a.example"], mode = "egress" }', '"T" is granted more than once'),
        ("3", "found an integer"),
    ],
)
def test_a_bad_grant_is_refused_where_it_stands(grant: str, said: str) -> None:
    found = load(f"{BOUNDED}secrets = [{grant}]\n").errors
    assert any(said in str(problem) for problem in found), found
    assert all(":6:" in str(problem) for problem in found)


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({'network = "none"\n': ""}, "network_allow", 'only with network = "none"'),
        ({'"none"': '"host"'}, "network_allow", "reaches everything"),
        ({'"none"': '"none"\nsandbox = "gvisor"'}, "network_allow", 'needs sandbox = "bubblewrap"'),
        ({'network = "none"\n': ""}, "secrets", 'needs network = "none"'),
        ({'"none"': '"none"\nsandbox = "gvisor"'}, "secrets", 'needs sandbox = "bubblewrap"'),
        ({'"sandboxed"': '"native"'}, "secrets", "this agent is native"),
        ({'type = "sandboxed"\n': ""}, "secrets", "this agent is native"),
    ],
)
def test_what_would_bound_nothing_is_refused(changed: dict[str, str], field: str, said: str) -> None:
    text = BOUNDED + ('network_allow = ["a.example:443"]\n' if field == "network_allow" else GRANT)
    for old, new in changed.items():
        text = text.replace(old, new)
    assert any(said in message for message in errors(text))


def test_the_schema_takes_what_the_loader_takes() -> None:
    validator = jsonschema.Draft202012Validator(jcard_schema())
    grant = {"name": "T", "to": ["a.example"], "mode": "egress"}
    agent = {"harness": "custom", "type": "sandboxed", "network": "none", "network_allow": ["a.example:443"]}
    assert validator.is_valid({"agent": {**agent, "secrets": ["A", grant]}})
    assert not validator.is_valid({"agent": {**agent, "secrets": [{**grant, "x": 1}]}})
    assert not validator.is_valid({"agent": {**agent, "network_allow": ["a.example"]}})
