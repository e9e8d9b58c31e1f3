"""The channel of a managed agent."""

from __future__ import annotations

import re

import pytest

from agentd.jcard.pubsub import PubsubError, pubsub_declaration, read_pubsub
from agentd.model.channels import Backend, ChannelDeclaration, RedisLink, Tls


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
        ({"url": "redis://:pa55@h", "password": "pa55"}, "url: found a password"),
        ({"url": "http://:pa55@h"}, "url: expected a URL"),
        ({"url": "redis://h", "password": 5}, "password"),
        ({"url": "redis://h", "password_secret": "KEY"}, "password_secret: is not for users"),
        ({"url": "rediss://h", "ca_file": "/etc/shadow"}, "ca_file: is not for users"),
        ({"url": "unix:///run/redis.sock"}, "url: found a Unix socket"),
        ({"url": "rediss://h?ssl_cert_reqs=none"}, 'url: found options after "?"'),
        ({"url": "redis://h", "ca": "PEM"}, "the connection is not encrypted"),
        ({"url": "redis://h", "surprise": 1}, "surprise: unknown key"),
        ({"backend": "msk", "bootstrap_servers": "h:1", "region": "eu-1"}, "servers of amazonaws.com"),
    ],
)
def test_what_a_user_may_not_have(config: dict[str, object], said: str) -> None:
    known = {"backend": "redis", "channel_name": "c"} if config else {}
    with pytest.raises(PubsubError, match=re.escape(said)) as caught:
        read_pubsub({**known, **config})
    assert "pa55" not in str(caught.value)


def test_the_password_of_a_url_is_told_by_itself() -> None:
    settings = read_pubsub({"backend": "redis", "channel_name": "c", "url": "redis://ann:p%405@[::1]:7/2"})
    assert (settings.url, settings.password) == ("redis://ann@[::1]:7/2", "p@5")
