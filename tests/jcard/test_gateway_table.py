"""The [gateway] table of a jcard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.jcard.drop_ins import drop_in_context
from agentd.jcard.load import load_jcard
from agentd.jcard.schema import jcard_schema
from agentd.jcard.secrets import withheld_secrets
from agentd.model.gateway import DeclaredToken, GatewayDeclaration, ListenAddress, Scope
from tests.jcard.loading import CONTEXT, load

HASH = "sha256:" + "0a" * 32

GOOD = f"""
[gateway]
listen = ["127.0.0.1:8765", "[::1]:0", "unix:run/gateway.sock", "unix:~/g.sock"]
database = "postgresql+asyncpg://agentd:pa55@localhost/agentd"
max_concurrency = 8
max_queue = 50
turn_timeout = "1h"
idle_timeout = "10m"
retention = "24h"
workdirs = ["/srv", "~/work", "here"]
manager = "manager"
hosts = ["Agents.example.com"]
origins = ["https://chat.example.com"]

[[gateway.tokens]]
secret = "ALICES_TOKEN"
user = "alice"

[[gateway.tokens]]
hash = "{HASH}"
scopes = ["admin"]
"""


def test_the_table_is_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    assert result.gateway == GatewayDeclaration(
        listen=(
            ListenAddress("127.0.0.1", 8765),
            ListenAddress("::1", 0),
            ListenAddress(path="/etc/stereos/run/gateway.sock"),
            ListenAddress(path="/home/agent/g.sock"),
        ),
        database="postgresql+asyncpg://agentd:pa55@localhost/agentd",
        max_concurrency=8,
        max_queue=50,
        turn_timeout=3600,
        idle_timeout=600,
        retention=86400,
        workdirs=(Path("/srv"), Path("/home/agent/work"), Path("/etc/stereos/here")),
        manager="manager",
        hosts=("agents.example.com",),
        origins=("https://chat.example.com",),
        tokens=(
            DeclaredToken("ALICES_TOKEN", None, "alice", frozenset({Scope.CHAT})),
            DeclaredToken(None, b"\x0a" * 32, None, frozenset({Scope.ADMIN})),
        ),
    )
    assert "pa55" not in repr(result.gateway)
    assert [str(address) for address in result.gateway.listen or ()][:2] == ["127.0.0.1:8765", "[::1]:0"]
    assert load("").gateway is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway = 1", "found an integer, expected a table"),
        ("[gateway]\nlisten = []", "at least 1 item"),
        ('[gateway]\nlisten = ["8765"]', "expected HOST:PORT"),
        ('[gateway]\nlisten = ["localhost:99999"]', "expected HOST:PORT"),
        ('[gateway]\nlisten = ["unix:"]', "expected HOST:PORT"),
        ('[gateway]\ndatabase = "pa55"', "gateway.database: expected a URL"),
        ('[gateway]\ndatabase = "mysql://root:pa55@localhost/x"', "database: found a URL of mysql, expected a URL"),
        ('[gateway]\ndatabase = "sqlite:///"', "gateway.database: expected a URL"),
        ("[gateway]\nmax_concurrency = 0", "expected at least 1"),
        ("[gateway]\nidle_timeout = 30", "which has no unit"),
        ('[gateway]\norigins = ["chat.example.com"]', "expected an origin"),
        ('[gateway]\norigins = ["https://chat.example.com/"]', "expected an origin"),
        ('[gateway]\nhosts = ["chat.example.com:80"]', "expected a name without a port"),
        ('[[gateway.tokens]]\nuser = "alice"', "gateway.tokens[0]: expected secret or hash"),
        (f'[[gateway.tokens]]\nsecret = "pa55"\nhash = "{HASH}"\nuser = "alice"', "and not both"),
        ('[[gateway.tokens]]\nsecret = "KEY"', "gateway.tokens[0].user: missing"),
        ('[[gateway.tokens]]\nsecret = "KEY"\nuser = "a--b"', "single -"),
        ('[[gateway.tokens]]\nsecret = "KEY"\nuser = "alice"\nscopes = ["root"]', 'expected one of "admin"'),
        ('[[gateway.tokens]]\nsecret = "KEY"\nuser = "alice"\nscopes = []', "at least 1"),
        ('[[gateway.tokens]]\nsecret = "KEY"\nuser = "alice"\ntoken = "pa55"', "tokens[0].token: unknown key"),
        ('[[gateway.tokens]]\nsecrt = "KEY"\n', 'tokens[0].secrt: unknown key; did you mean "secret"?'),
        ('[[gateway.tokens]]\nhash = "pa55"\nuser = "alice"', "64 hexadecimal digits"),
        ('[[gateway.tokens]]\nsecret = "pa55-1"\nuser = "alice"', "environment variable name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_what_may_be_secret(text: str, said: str) -> None:
    result = load(text)
    assert result.gateway is None
    (error,) = result.gateway_errors
    assert said in str(error)
    assert "pa55" not in str(error)
    (warning,) = result.warnings
    assert result.valid
    assert str(warning) == f"{error}; agents are started all the same, and agentd-gateway is not"


def test_agents_are_declared_whatever_the_table_says_and_get_none_of_its_secrets() -> None:
    text = """
[[agents]]
name = "a"
harness = "claude-code"

[gateway]
max_concurrency = "many"
managed_secrets = ["ANTHROPIC_API_KEY"]

[[gateway.tokens]]
secret = "ROOT"
scopes = ["admin"]

[[gateway.tokens]]
secrte = "MISSPELLED"

[[gateway.channels]]
backend = "redis"
password_secret = "REDIS_PASSWORD"
"""
    result = load(text)
    assert [agent.name for agent in result.agents] == ["a"]
    assert result.gateway is None
    withheld = withheld_secrets([result])
    assert {"ROOT", "MISSPELLED", "REDIS_PASSWORD"} <= withheld
    assert "ANTHROPIC_API_KEY" not in withheld


def test_an_unknown_key_is_a_warning() -> None:
    (warning,) = load('[gateway]\nlissten = ["x"]\n').warnings
    assert 'gateway.lissten: unknown key, ignored; did you mean "listen"?' in str(warning)


def test_the_schema_takes_what_the_loader_takes() -> None:
    import tomllib  # noqa: PLC0415

    schema: Any = jcard_schema()
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(GOOD))
    wrong = {"gateway": {"tokens": [{"secret": "KEY", "scopes": ["root"]}]}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


@pytest.mark.parametrize("owner", [None, "team"])
@pytest.mark.parametrize(
    "table",
    [
        '[gateway]\nmax_concurrency = "many"\n',
        '[gateway]\nlisten = ["nowhere"]\n[[gateway.tokens]]\nuser = 3\n',
        "gateway = 4\n",
        '[pool]\nproviders = "all"\n',
        '[gateway]\n[[gateway.tokens]]\nsecret = "KEY"\nuser = "alice"\n',
    ],
)
def test_a_drop_in_declares_its_agents_whatever_its_table_says(table: str, owner: str | None) -> None:
    place = Path("/etc/stereos/jcard.d/a.toml")
    text = f'{table}[agent]\nname = "a"\nharness = "claude-code"\n'
    result = load_jcard(text.encode(), "a.toml", drop_in_context(CONTEXT, place, owner))
    assert [agent.name for agent in result.agents] == ["a"]
    assert not result.errors
    (said,) = result.problems
    assert "stands in the jcard itself" in str(said) or "stand in the jcard itself" in str(said)
    assert (result.gateway, result.pool) == (None, None), "its tokens count nowhere"
