"""Which fields a table within a table, or an object within a body, may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from pydantic import BaseModel


def fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Name the fields of what stands at a place within a model's value; none, if no model describes it."""
    models = [model]
    for part in path:
        named = [each.model_fields[part].annotation for each in models if part in each.model_fields]
        # What is no field is the index of an array, or a key of an object with any keys: its values are meant.
        models = [each for annotation in named for each in _models(annotation)] if named else models
    return [name for each in models for name in each.model_fields]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
