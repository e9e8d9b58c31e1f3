"""What the API's schema says of values beyond their Python types; pydantic asks for it, and is not imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from agentd.model.states import AgentState


@dataclass(frozen=True, slots=True, eq=False)
class JsonSchema:
    """Keywords of JSON Schema that hold for a value."""

    keywords: Mapping[str, object]

    def __get_pydantic_json_schema__(
        self, core_schema: object, handler: Callable[[object], dict[str, object]]
    ) -> dict[str, object]:
        """Add the keywords to what the type itself gives; the name is pydantic's."""
        return {**handler(core_schema), **self.keywords}


Count: TypeAlias = Annotated[int, JsonSchema({"minimum": 0})]
Positive: TypeAlias = Annotated[int, JsonSchema({"minimum": 1})]
Time: TypeAlias = Annotated[str, JsonSchema({"format": "date-time"})]
"""RFC 3339 in UTC."""
Digest: TypeAlias = Annotated[str, JsonSchema({"pattern": "^[0-9a-f]{64}$"})]
"""SHA-256, in hexadecimal."""
State: TypeAlias = Annotated[str, JsonSchema({"enum": [*AgentState]})]
