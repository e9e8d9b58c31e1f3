"""The [[gateway.channels]] tables of a jcard."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.jcard.schema import jcard_schema
from agentd.jcard.secrets import withheld_secrets
from agentd.model.channels import Backend, ChannelDeclaration, KafkaLink, Mechanism, Mode, RedisLink, Tls
from tests.jcard.loading import load

GOOD = """
[[gateway.channels]]
agent = "reviewer"
backend = "kafka"
channel_name = "reviews"
bootstrap_servers = "127.0.0.1:9092, [::1]:9093"
sasl_mechanism = "SCRAM-SHA-512"
username = "agentd"
password_secret = "KAFKA_PASSWORD"
ssl = true
ca_file = "ca.pem"

[[gateway.channels]]
agent = "reviewer"
user = "alice"
backend = "msk"
channel_name = "reviews"
bootstrap_servers = ["b-1.example.com:9098"]
topic_prefix = ""
region = "eu-central-1"

[[gateway.channels]]
agent = "tester"
backend = "redis"
channel_name = "tests"
url = "rediss://agentd@127.0.0.1:6380/1"
mode = "stream"
password_secret = "REDIS_PASSWORD"
"""


def test_the_tables_are_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    assert result.gateway is not None
    kafka, msk, redis = result.gateway.channels
    assert kafka == ChannelDeclaration(
        "reviewer",
        None,
        Backend.KAFKA,
        "reviews",
        KafkaLink(
            ("127.0.0.1:9092", "[::1]:9093"),
            tls=Tls(Path("/etc/stereos/ca.pem")),
            mechanism=Mechanism.SCRAM_512,
            username="agentd",
            password_secret="KAFKA_PASSWORD",
        ),
    )
    assert (kafka.where, kafka.group) == ("mcp_agent_reviews", "agentd.-.reviewer")
    assert msk.link == KafkaLink(
        ("b-1.example.com:9098",), "", Tls(), mechanism=Mechanism.OAUTHBEARER, region="eu-central-1"
    )
    assert (msk.where, msk.group) == ("reviews", "agentd.alice.reviewer")
    assert redis.link == RedisLink("rediss://agentd@127.0.0.1:6380/1", Mode.STREAM, Tls(), "REDIS_PASSWORD")
    assert redis.where == "agent:tests"


def test_agents_are_not_given_the_passwords() -> None:
    assert withheld_secrets([load(GOOD)]) == {"KAFKA_PASSWORD", "REDIS_PASSWORD"}


KAFKA = 'backend = "kafka"\nbootstrap_servers = "h:1"\n'
REDIS = 'backend = "redis"\nurl = "redis://h"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('backend = "rabbit"', 'backend: found "rabbit", expected one of "kafka", "msk", "redis"'),
        ('backend = "kafka"', "bootstrap_servers: missing"),
        ('backend = "kafka"\nbootstrap_servers = "h"', "expected HOST:PORT"),
        ('backend = "redis"', "url: missing"),
        ('backend = "redis"\nurl = "http://h"', "url: expected a URL such as"),
        ('backend = "redis"\nurl = "redis://:pa55@h"', "url: found a password; name the secret"),
        ('backend = "redis"\nurl = "redis://h?password=pa55"', "url: found a password"),
        (REDIS + 'region = "eu-1"', 'region: is no field of the backend "redis"'),
        (REDIS + 'mode = "list"', 'mode: found "list"'),
        (REDIS + "verify = false", "verify: found, and the connection is not encrypted"),
        ('backend = "redis"\nurl = "rediss://h"\nssl = false', "ssl: found false"),
        (KAFKA + 'url = "redis://h"', 'url: is no field of the backend "kafka"'),
        (KAFKA + 'sasl_mechanism = "PLAIN"', "username: missing; PLAIN needs it"),
        (KAFKA + 'username = "a"', "username: found, and no sasl_mechanism"),
        (KAFKA + 'sasl_mechanism = "OAUTHBEARER"', 'for the backend "msk" alone'),
        (KAFKA + 'security_protocol = "SASL_SSL"', "expected one without SASL_"),
        (KAFKA + 'security_protocol = "SSL"\nssl = false', "ssl: found false"),
        (KAFKA + 'password_secret = "pa55-1"', "environment variable name"),
        ('backend = "msk"\nbootstrap_servers = "h:1"', "region: missing"),
        ('backend = "msk"\nbootstrap_servers = "h:1"\nregion = "x"\nusername = "a"', "username: is no field of OAUTH"),
        (KAFKA + 'password = "pa55"', "channels[0].password: unknown key"),
        (KAFKA + 'topic_prefix = "a b"', "topic_prefix: found"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_passwords(text: str, said: str) -> None:
    result = load(f'[[gateway.channels]]\nagent = "a"\nchannel_name = "c"\n{text}')
    assert result.gateway is None
    assert said in str(result.gateway_errors[0])
    assert not any("pa55" in str(error) for error in result.problems if "pa55-1" not in text)


def test_one_topic_for_two_agents_is_an_error() -> None:
    table = f'[[gateway.channels]]\nagent = "{{}}"\nchannel_name = "c"\n{KAFKA}'
    (error,) = load(table.format("a") + table.format("b")).gateway_errors
    assert "channels[1].channel_name: as that of channels[0]" in str(error)


def test_a_broker_that_is_not_verified_is_a_warning() -> None:
    result = load(f'[[gateway.channels]]\nagent = "a"\nchannel_name = "c"\n{KAFKA}ssl = true\nverify = false')
    (warning,) = result.warnings
    assert "channels[0].verify: the broker's certificate is not checked" in str(warning)
    assert result.gateway is not None


def test_the_schema_takes_what_the_loader_takes() -> None:
    schema: Any = jcard_schema()
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(GOOD))
    assert not jsonschema.Draft202012Validator(schema).is_valid({"gateway": {"channels": [{"agent": "a"}]}})
