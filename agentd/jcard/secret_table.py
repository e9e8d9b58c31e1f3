"""An entry of ``secrets`` in an agent table: a name, or a table."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from agentd.jcard.agent_fields import SecretHost, SecretModeChoice, Variable


class SecretTable(BaseModel):
    """A secret in ``secrets`` that the agent uses without being able to read it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Variable = Field(description="The secret's name.")
    to: list[SecretHost] = Field(
        min_length=1,
        description="Names of the hosts that its value is for, by TLS, with :PORT if that is not 443. The agent "
        "reaches them without network_allow.",
    )
    mode: SecretModeChoice = Field(
        description="egress: the agent gets a placeholder, and its value is put in on the way to these hosts."
    )


NAME_TAG, TABLE_TAG = "[name]", "[table]"
"""Stand in the paths of pydantic's errors for which kind of secret was written."""

Secret = Annotated[
    Annotated[Variable, Tag(NAME_TAG)] | Annotated[SecretTable, Tag(TABLE_TAG)],
    Discriminator(lambda written: TABLE_TAG if isinstance(written, dict | SecretTable) else NAME_TAG),
]
