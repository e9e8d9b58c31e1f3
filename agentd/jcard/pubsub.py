"""The ``pubsub_config`` of a managed agent: the settings of a channel, as its user may write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, ValidationError

from agentd.jcard.agent_manager import own_form
from agentd.jcard.channel_table import WHERE_IT_BELONGS, ChannelSettings, contradictions, declaration
from agentd.jcard.checks import check_not_empty
from agentd.jcard.explain import Fault, faults, field_name
from agentd.model.channels import Backend, ChannelDeclaration
from agentd.text.quoting import quote


class PubsubSettings(ChannelSettings):
    """What a user writes names neither secrets nor files of the machine."""

    password: Annotated[str, AfterValidator(check_not_empty)] | None = Field(
        None, description="Instead of password_secret, which is not for users.", repr=False
    )
    ca: Annotated[str, AfterValidator(check_not_empty)] | None = Field(
        None, description="Certificates that are trusted, as PEM, instead of ca_file, which is not for users."
    )


_OF_OPERATORS: Final = ("password_secret", "ca_file")
_OWN_NAMES: Final = {"password_secret": "password", "ca_file": "ca"}
"""What users write instead of these."""
_AWS: Final = re.compile(r"[A-Za-z0-9.-]+\.amazonaws\.com(?:\.cn)?:[0-9]+")


class PubsubError(ValueError):
    """Something is wrong with a field.

    Parameters
    ----------
    field
        Its name.
    problem
        What is wrong; it holds no password.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def read_pubsub(config: Mapping[str, object]) -> PubsubSettings:
    """Read it.

    Raises
    ------
    PubsubError
        If something is wrong.
    """
    config, wrong = own_form(config)
    for name in ("backend", "channel_name"):
        if name not in config:
            others = [key for key in config if key not in PubsubSettings.model_fields]
            close = get_close_matches(name, others, n=1)
            found = f"; found {quote(close[0])}, which is no field" if close else ""
            raise PubsubError(name, f"missing{found}")
    if wrong:
        raise PubsubError(field_name(wrong[0].path), wrong[0].message)
    try:
        settings = PubsubSettings.model_validate(_with_password_apart(config))
    except ValidationError as problem:
        first = next(iter(faults(problem)))
        message = first.message.replace(WHERE_IT_BELONGS, "write it in password alone")
        raise PubsubError(field_name(first.path), message) from None
    wrong = [Fault((name,), "is not for users") for name in _OF_OPERATORS if getattr(settings, name) is not None]
    if (settings.url or "").startswith("unix:"):
        wrong.append(Fault(("url",), "found a Unix socket, which is not for users"))
    # As in a jcard, where a secret holds the password.
    wrong = wrong or [
        Fault((_OWN_NAMES.get(str(each.path[0]), each.path[0]), *each.path[1:]), each.message)
        for each in contradictions(
            settings.model_copy(update={"password_secret": settings.password and "PASSWORD", "ca_file": settings.ca})
        )
    ]
    of_aws = settings.verify and all(map(_AWS.fullmatch, settings.bootstrap_servers or ()))
    if not wrong and settings.backend == Backend.MSK and not of_aws:
        # Whoever has the gateway's token can use what its AWS credentials allow.
        wrong = [Fault(("bootstrap_servers",), "expected servers of amazonaws.com, verified")]
    if wrong:
        raise PubsubError(field_name(wrong[0].path), wrong[0].message)
    return settings


def _with_password_apart(config: Mapping[str, object]) -> dict[str, object]:
    """Take the password out of Redis' URL: what connects is told it by itself."""
    url = config.get("url")
    if not isinstance(url, str) or "password" in config:
        return dict(config)
    try:
        parts = urlsplit(url)
    except ValueError:
        return dict(config)
    if not parts.password:
        return dict(config)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    netloc = f"{name}@{host}" if name else host
    return {**config, "url": urlunsplit(parts._replace(netloc=netloc)), "password": unquote(parts.password)}


def pubsub_declaration(settings: PubsubSettings, agent: str, user: str, session_id: str) -> ChannelDeclaration:
    """Give the channel of a managed agent."""
    declared = declaration(settings, agent, user, None)
    link = replace(declared.link, password=settings.password)
    if link.tls is not None:
        link = replace(link, tls=replace(link.tls, ca=settings.ca))
    return replace(declared, link=link, session_id=session_id)
