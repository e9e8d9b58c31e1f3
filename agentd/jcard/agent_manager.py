"""The ``pubsub_config`` that Agent Manager's users have, in agentd's own form.

There each backend's settings stand in a table of its name, and a Redis without any is the one beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agentd.jcard.explain import Fault
from agentd.model.channels import Backend
from agentd.text.quoting import quote

_PREFIX: Final = "agent:"
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
_OF_THEIR_CLIENTS: Final = ("producer_config", "consumer_config", "ssl_config")
"""They are settings of Agent Manager's own clients."""


def own_form(config: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """Give the settings in agentd's form, and what is wrong with those that were not; what is in it already stays."""
    given = dict(config)
    if given.pop("use_redis", None) is True:
        given.setdefault("backend", Backend.REDIS.value)
    backend = given.get("backend")
    tables = {each: given.pop(each) for each in (*map(str, Backend),) if isinstance(given.get(each), dict)}
    table = tables.get(str(backend), {})
    assert isinstance(table, dict)
    if backend == Backend.REDIS:
        settings, faults = _redis(table)
        if "url" in given:
            settings.pop("url", None)
    else:
        settings, faults = _kafka(table, verified=backend == Backend.MSK), []
    return {**settings, **given}, faults


def _redis(table: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    settings = dict(table)
    host, port = settings.pop("host", "127.0.0.1"), settings.pop("port", 6379)
    database, prefix = settings.pop("db", 0), settings.pop("channel_prefix", _PREFIX)
    faults = []
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        faults.append(Fault(("redis", "host"), "expected the name or the address of a host"))
    faults += [
        Fault(("redis", name), f"expected a whole number up to {most}")
        for name, value, most in (("port", port, 65535), ("db", database, 999))
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most
    ]
    if prefix != _PREFIX:
        faults.append(Fault(("redis", "channel_prefix"), f"expected {quote(_PREFIX)}, which is that of all channels"))
    place = f"[{host}]" if ":" in str(host) else host
    return {"url": f"redis://{place}:{port}/{database}", **settings}, faults


def _kafka(table: Mapping[str, object], *, verified: bool) -> dict[str, object]:
    settings = {name: value for name, value in table.items() if name not in _OF_THEIR_CLIENTS}
    if "aws_region" in settings:
        settings["region"] = settings.pop("aws_region")
    tls = table.get("ssl_config")
    # Amazon's certificates are good, and who stood between would be given the gateway's token.
    if not verified and isinstance(tls, dict) and tls.get("verify_mode") == "none":
        settings["verify"] = False
    return settings
