"""The types of an agent table's fields, with their checks and their JSON Schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agentd.jcard.checks import (
    LONGEST_SESSION,
    NOT_FIRST_IN_SESSION,
    NOWHERE_IN_SESSION,
    ZONE_EXAMPLE,
    check_after,
    check_branch,
    check_command,
    check_destination,
    check_env_name,
    check_env_value,
    check_fork_point,
    check_name,
    check_not_empty,
    check_path,
    check_revision,
    check_secret_host,
    check_session,
    check_time_zone,
    check_variable,
    cores_from_toml,
)
from agentd.jcard.field_types import Size, enumeration, whole
from agentd.model.limits import OomPolicy
from agentd.model.order import OUTCOMES, Overlap
from agentd.model.packages import PACKAGE
from agentd.model.spec import (
    AGENT_NAME,
    ENVIRONMENT_NAME,
    FORK_POINT,
    RESERVED_SESSION,
    AgentType,
    ApplyWhen,
    Isolation,
    Mode,
    Network,
    RestartPolicy,
    SandboxKind,
    SecretMode,
)
from agentd.text.cron import EXAMPLE, check_cron


def _none_of(characters: str) -> str:
    """Write a negated character class that JavaScript and Rust read alike."""
    plain = "".join(sorted(set(characters) - set("-\\")))
    return f"[^{plain}" + ("\\\\" if "\\" in characters else "") + ("-" if "-" in characters else "") + "]"


Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": whole(AGENT_NAME)})]
Session = Annotated[
    str,
    AfterValidator(check_session),
    Field(
        json_schema_extra={
            "minLength": 1,
            "maxLength": LONGEST_SESSION,
            "pattern": f"^{_none_of(NOT_FIRST_IN_SESSION + NOWHERE_IN_SESSION)}{_none_of(NOWHERE_IN_SESSION)}*$",
            "not": {"const": RESERVED_SESSION},
        }
    ),
]
Branch = Annotated[str, AfterValidator(check_branch), Field(json_schema_extra={"minLength": 1})]
Revision = Annotated[
    str, AfterValidator(check_not_empty), AfterValidator(check_revision), Field(json_schema_extra={"minLength": 1})
]
WrittenPath = Annotated[str, AfterValidator(check_path), Field(json_schema_extra={"minLength": 1})]
ForkPoint = Annotated[str, AfterValidator(check_fork_point), Field(json_schema_extra={"pattern": whole(FORK_POINT)})]
FullPath = Annotated[WrittenPath, AfterValidator(check_not_empty)]
Package = Annotated[
    str, AfterValidator(check_not_empty), Field(json_schema_extra={"minLength": 1, "pattern": whole(PACKAGE)})
]
Text = Annotated[str, AfterValidator(check_not_empty), Field(json_schema_extra={"minLength": 1})]
Variable = Annotated[str, AfterValidator(check_variable), Field(json_schema_extra={"pattern": whole(ENVIRONMENT_NAME)})]
After = Annotated[str, AfterValidator(check_after), Field(json_schema_extra={"pattern": whole(AGENT_NAME + OUTCOMES)})]
EnvName = Annotated[str, AfterValidator(check_env_name)]
EnvValue = Annotated[str, AfterValidator(check_env_value)]
Command = Annotated[list[str], AfterValidator(check_command)]
ExitCode = Annotated[int, Field(ge=0, le=255)]
Memory = Annotated[Size, AfterValidator(lambda size: size or None)]
PidLimit = Annotated[int, Field(ge=0), AfterValidator(lambda limit: limit or None)]
Cores = Annotated[
    float,
    BeforeValidator(cores_from_toml),
    AfterValidator(lambda cores: cores or None),
    WithJsonSchema({"type": "number", "minimum": 0, "examples": [1.5]}),
]
# Strict mode would take only members of the enumerations, and TOML has strings.
TypeChoice = Annotated[AgentType, Field(strict=False), enumeration([*AgentType])]
IsolationChoice = Annotated[Isolation, Field(strict=False), enumeration([*Isolation])]
SandboxChoice = Annotated[SandboxKind, Field(strict=False), enumeration([*SandboxKind])]
NetworkChoice = Annotated[Network, Field(strict=False), enumeration([*Network])]
SecretModeChoice = Annotated[SecretMode, Field(strict=False), enumeration([*SecretMode])]
Destination = Annotated[
    str, AfterValidator(check_destination), Field(json_schema_extra={"pattern": whole(r".+:[0-9]+")})
]
SecretHost = Annotated[str, AfterValidator(check_secret_host), Field(json_schema_extra={"minLength": 1})]
ModeChoice = Annotated[Mode, Field(strict=False), enumeration([*Mode])]
RestartChoice = Annotated[RestartPolicy, Field(strict=False), enumeration([*RestartPolicy])]
ApplyChoice = Annotated[ApplyWhen, Field(strict=False), enumeration([*ApplyWhen])]
OverlapChoice = Annotated[Overlap, Field(strict=False), enumeration([*Overlap])]
Cron = Annotated[
    str,
    AfterValidator(check_cron),
    Field(json_schema_extra={"pattern": r"^\s*\S+(?:\s+\S+){4,5}\s*$", "examples": [EXAMPLE]}),
]
TimeZone = Annotated[
    str, AfterValidator(check_time_zone), Field(json_schema_extra={"minLength": 1, "examples": [ZONE_EXAMPLE]})
]
OnOomChoice = Annotated[OomPolicy, Field(strict=False), enumeration([*OomPolicy])]
