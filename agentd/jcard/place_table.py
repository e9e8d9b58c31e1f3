"""The field ``place`` of an agent table: where it may run in a fleet."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.agent_fields import Memory
from agentd.jcard.field_types import enumeration, whole
from agentd.model.placement import HOST_NAME, LABEL, OnHostLoss, Place, Spread
from agentd.text.quoting import quote, show, unfit

MOST_SLOTS: Final = 10_000

PLACE_CHOICES: Final[dict[str, list[str]]] = {"spread": [*Spread], "on_host_loss": [*OnHostLoss]}

_PLACE: Final = Place()

_LONGEST_LABEL: Final = 63
_EXPECTED_LABEL: Final = (
    f"expected a label of 1 to {_LONGEST_LABEL} letters, digits, -, _, . and /, that begins and ends with a letter or "
    "digit"
)


def check_label(text: str) -> str:
    """Check the name or the value of a label.

    Raises
    ------
    ValueError
        If it is none.
    """
    if re.fullmatch(LABEL, text, re.ASCII) is None:
        raise ValueError(unfit(text, _EXPECTED_LABEL, _LONGEST_LABEL))
    return text


def check_host(text: str) -> str:
    """Check the name of a host.

    Raises
    ------
    ValueError
        If it is none.
    """
    if re.fullmatch(HOST_NAME, text, re.ASCII) is None:
        raise ValueError(f"found {quote(text)}, expected the name of a host, as agentctl fleet hosts shows it")
    return text


def _number(value: object, of: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_SLOTS:
        return float(value)
    raise ValueError(f"found {show(value)}, expected a number of {of} from 0 to {MOST_SLOTS}, such as 0.5")


_SCHEMA: Final = WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST_SLOTS})
_Label = Annotated[str, AfterValidator(check_label)]


class PlaceTable(BaseModel):
    """The table ``[agents.place]``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    slots: int = Field(_PLACE.slots, ge=1, le=MOST_SLOTS, description="Slots of its host that the agent takes.")
    cpus: Annotated[float, BeforeValidator(partial(_number, of="cores")), _SCHEMA] = Field(
        _PLACE.cpus, description="Cores of its host that it takes, such as 1.5. They are counted, not enforced."
    )
    memory: Memory | None = Field(
        None,
        description="Memory of its host that it takes, as a size. It is counted, not enforced, as memory of the agent "
        "is. Default, and 0: none.",
    )
    gpus: Annotated[float, BeforeValidator(partial(_number, of="GPUs")), _SCHEMA] = Field(
        _PLACE.gpus, description="GPUs of its host that it takes, such as 0.5."
    )
    labels: dict[_Label, _Label] = Field(
        {},
        description='Labels that its host must have, such as { zone = "a" }.',
        json_schema_extra={
            "propertyNames": {"pattern": whole(LABEL)},
            "additionalProperties": {"type": "string", "pattern": whole(LABEL)},
        },
    )
    host: Annotated[str, AfterValidator(check_host), Field(json_schema_extra={"pattern": whole(HOST_NAME)})] | None = (
        Field(None, description="The only host that it may have. Default: any.")
    )
    spread: Annotated[Spread, Field(strict=False), enumeration([*Spread])] = Field(
        _PLACE.spread,
        description="hosts: on the host with the fewest replicas of it, then on the least full one. "
        "pack: on the fullest that has room.",
    )
    on_host_loss: Annotated[OnHostLoss, Field(strict=False), enumeration([*OnHostLoss])] = Field(
        _PLACE.on_host_loss,
        description="When its host is lost: reschedule launches it on another, once it cannot run there any more; "
        "wait leaves it to that host.",
    )


def place_of(table: PlaceTable | None) -> Place:
    """What the field declares."""
    if table is None:
        return _PLACE
    return Place(
        slots=table.slots,
        cpus=table.cpus,
        memory=table.memory or 0,
        gpus=table.gpus,
        labels=tuple(sorted(table.labels.items())),
        host=table.host,
        spread=table.spread,
        on_host_loss=table.on_host_loss,
    )
