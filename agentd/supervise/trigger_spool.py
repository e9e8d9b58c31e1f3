"""What agentd-gateway hands to agentd: a file for each webhook, which outlives both."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentd.files.json_faults import first_fault
from agentd.model.triggers import Delivery
from agentd.text.prompt_variables import cleaned

FOLDER: Final = "webhooks"
"""Name in the state directory."""

_VERSION: Final = 1


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    v: int
    id: str = Field(pattern="^[0-9a-f]{24}$")
    trigger: str
    values: dict[str, str]
    at: float = Field(ge=0, le=2**40)


def delivery_id(trigger: str, number: str) -> str:
    """Give the id of what came by a trigger, by the sender's own number of it."""
    return hashlib.sha256(f"{trigger}\0{number}".encode()).hexdigest()[:24]


def written(delivery: Delivery) -> bytes:
    """Write a delivery as a file."""
    fields = {"id": delivery.id, "trigger": delivery.trigger, "values": dict(delivery.values), "at": delivery.at}
    return json.dumps({"v": _VERSION, **fields}).encode()


def delivery_of(data: bytes) -> Delivery | str:
    """Read one, or say what is wrong."""
    try:
        found = _File.model_validate_json(data)
    except ValidationError as error:
        return first_fault(error)
    if found.v != _VERSION:
        return f"expected version {_VERSION}, found {found.v}"
    values = {name: cleaned(value) for name, value in found.values.items()}
    return Delivery(found.id, found.trigger, values, found.at)
