"""A tool: what a host sees of it, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeVar

from mcp_types import Tool as ToolDeclaration
from mcp_types import ToolAnnotations
from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue

from agentd.mcp.schemas import compact, outline
from agentd.text.durations import parse_duration


class Arguments(BaseModel):
    """Arguments of a tool. What is not one of them is refused: a misspelt limit must not be a missing one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_by_name=True)


class Result(BaseModel):
    """What a tool answers."""

    always: ClassVar[frozenset[str]] = frozenset()
    """Fields that are there also where they are ``None``."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


def _is_duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_is_duration)]
"""As the jcard writes it: ``1h30m``."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    parent: str | None
    """The conversation, or the tool's use in it, that calls."""
    follow: Callable[[str], None]
    """Has the caller told, from now on, that something happens to an agent of this name."""


A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a tool does to the world, as a host asks its user by it."""

    read_only: bool
    destructive: bool = False
    idempotent: bool = True


READS: Final = Effect(read_only=True)
ADDS: Final = Effect(read_only=False, idempotent=False)
CHANGES: Final = Effect(read_only=False)
ENDS: Final = Effect(read_only=False, destructive=True)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a toolset."""

    declaration: ToolDeclaration
    """As hosts list it."""
    call: Callable[[Mapping[str, JsonValue], Call], Awaitable[Result]]
    """Parses the arguments and does it; raises `pydantic.ValidationError` and `ToolError`."""

    @property
    def name(self) -> str:
        """What hosts call it by."""
        return self.declaration.name


def tool(
    name: str,
    description: str,
    effect: Effect,
    arguments: type[A],
    result: type[R],
    run: Callable[[A, Call], Awaitable[R]],
) -> Tool:
    """Make a tool of a function and of the models of what it takes and gives."""

    async def call(given: Mapping[str, JsonValue], made: Call) -> Result:
        return await run(arguments.model_validate(given), made)

    declaration = ToolDeclaration(
        name=name,
        description=description,
        input_schema=compact(arguments),
        output_schema=outline(result, result.always),
        annotations=_annotations(effect),
    )
    return Tool(declaration, call)


def _annotations(effect: Effect) -> ToolAnnotations:
    return ToolAnnotations(
        read_only_hint=effect.read_only,
        destructive_hint=effect.destructive,
        idempotent_hint=effect.idempotent,
        open_world_hint=False,
    )
