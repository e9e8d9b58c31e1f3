"""The channel of a managed agent."""

from __future__ import annotations

import re

import pytest

from agentd.jcard.pubsub import PubsubError, pubsub_declaration, read_pubsub
from agentd.model.channels import Backend, ChannelDeclaration, KafkaLink, Mechanism, RedisLink, Tls


def test_the_channel_of_a_managed_agent() -> None:
    settings = read_pubsub(
        {"backend": "redis", "channel_name": "c", "url": "rediss://h", "password": "pa55", "ca": "PEM"}
    )
    declared = pubsub_declaration(settings, "alice--helper", "alice", "ses_1")
    link = RedisLink("rediss://h", tls=Tls(ca="PEM"), password="pa55")
    assert declared == ChannelDeclaration("alice--helper", "alice", Backend.REDIS, "c", link, "ses_1")
    assert declared.group == "agentd.alice.alice--helper"
    assert "pa55" not in repr(declared)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "backend: missing"),
        ({"url": "redis://:pa55@h", "password": "pa55"}, "url: found a password; write it in password alone"),
        (
            {"backend": "kafka", "bootstrap_servers": "h:1", "sasl_mechanism": "PLAIN", "username": "u"},
            "password: missing; PLAIN needs it",
        ),
        ({"url": "http://:pa55@h"}, "url: expected a URL"),
        ({"url": "redis://h", "password": 5}, "password"),
        ({"url": "redis://h", "password_secret": "KEY"}, "password_secret: is not for users"),
        ({"url": "rediss://h", "ca_file": "/etc/shadow"}, "ca_file: is not for users"),
        ({"url": "unix:///run/redis.sock"}, "url: found a Unix socket"),
        ({"url": "rediss://h?ssl_cert_reqs=none"}, 'url: found options after "?"'),
        ({"url": "redis://h", "ca": "PEM"}, "ca: found, and the connection is not encrypted"),
        ({"url": "redis://h", "surprise": 1}, "surprise: unknown key"),
        ({"backend": "msk", "bootstrap_servers": "h:1", "region": "eu-1"}, "servers of amazonaws.com"),
        ({"redis": {"host": "h/../x"}}, "redis.host: expected the name"),
        ({"redis": {"port": 70000}}, "redis.port: expected a whole number up to 65535"),
        ({"redis": {"port": True}}, "redis.port: expected"),
        ({"redis": {"db": -1}}, "redis.db: expected"),
        ({"redis": {"channel_prefix": "x:"}}, 'redis.channel_prefix: expected "agent:"'),
        ({"redis": {"surprise": 1}}, "surprise: unknown key"),
        ({"redis": "h"}, "redis: unknown key"),
    ],
)
def test_what_a_user_may_not_have(config: dict[str, object], said: str) -> None:
    known = {"backend": "redis", "channel_name": "c"} if config else {}
    with pytest.raises(PubsubError, match=re.escape(said)) as caught:
        read_pubsub({**known, **config})
    assert "pa55" not in str(caught.value)


def test_a_misspelt_name_of_what_is_missing_is_told() -> None:
    with pytest.raises(PubsubError, match=re.escape('channel_name: missing; found "chanel_name", which is no field')):
        read_pubsub({"backend": "redis", "chanel_name": "c"})


def test_the_password_of_a_url_is_told_by_itself() -> None:
    settings = read_pubsub({"backend": "redis", "channel_name": "c", "url": "redis://ann:p%405@[::1]:7/2"})
    assert (settings.url, settings.password) == ("redis://ann@[::1]:7/2", "p@5")


def read(**config: object) -> ChannelDeclaration:
    return pubsub_declaration(read_pubsub({"channel_name": "c", **config}), "a--b", "a", "ses_1")


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({"backend": "redis"}, "redis://127.0.0.1:6379/0"),
        ({"backend": "redis", "redis": {}}, "redis://127.0.0.1:6379/0"),
        ({"use_redis": True, "redis": {"host": "redis", "port": 7, "db": 2}}, "redis://redis:7/2"),
        ({"backend": "redis", "redis": {"host": "::1", "channel_prefix": "agent:"}}, "redis://[::1]:6379/0"),
        ({"backend": "redis", "url": "redis://h", "redis": {"host": "other"}}, "redis://h"),
        ({"backend": "redis", "redis": {"url": "redis://:pa55@h/1"}}, "redis://h/1"),
    ],
)
def test_redis_as_agent_manager_has_it(config: dict[str, object], url: str) -> None:
    link = read(**config).link
    assert isinstance(link, RedisLink)
    assert link.url == url


def test_a_password_for_redis_as_agent_manager_has_it() -> None:
    link = read(backend="redis", redis={"host": "h", "password": "pa55"}).link
    assert isinstance(link, RedisLink)
    assert (link.url, link.password) == ("redis://h:6379/0", "pa55")


AGENT_MANAGERS = {
    "aws_region": "ap-south-1",
    "topic_prefix": "mcp_agent_",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "ssl_config": {"check_hostname": False, "verify_mode": "none"},
    "producer_config": {"acks": "all", "client_id": "mcp_agent_producer"},
    "consumer_config": {"auto_offset_reset": "latest", "enable_auto_commit": True},
}


def test_msk_as_agent_manager_has_it() -> None:
    """Its certificates are checked all the same: who stood between would be given the gateway's token."""
    server = "b-3-public.example.aewd11.c4.kafka.ap-south-1.amazonaws.com:9198"
    link = read(backend="msk", msk={"bootstrap_servers": [server], **AGENT_MANAGERS}, redis={"host": "unused"}).link
    assert link == KafkaLink((server,), tls=Tls(), mechanism=Mechanism.OAUTHBEARER, region="ap-south-1")


def test_kafka_as_agent_manager_has_msk() -> None:
    tls = {"security_protocol": "SSL", "ssl_config": {"verify_mode": "none"}}
    link = read(backend="kafka", kafka={"bootstrap_servers": "h:1", **tls}).link
    assert link == KafkaLink(("h:1",), tls=Tls(verify=False))
    link = read(backend="kafka", kafka={"bootstrap_servers": "h:1", **tls, "ssl_config": {}}).link
    assert link == KafkaLink(("h:1",), tls=Tls())
