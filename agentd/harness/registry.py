"""The harnesses that a jcard may name: built-in ones and those of third parties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import MappingProxyType

from agentd.files.entry_points import entry_points_of
from agentd.harness import builtin
from agentd.harness.base import Harness

GROUP = "agentd.harnesses"
"""Entry point group of third-party harnesses."""

_MEMBERS = tuple(name for name in vars(Harness) if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class Registry:
    """The usable harnesses, and what is wrong with the others."""

    harnesses: Mapping[str, Harness]
    """By the name that a jcard gives as ``harness``."""
    warnings: tuple[str, ...] = ()
    """One line each, for the caller to log."""


class _UnusableError(Exception):
    """A registered object is not a harness; the message says why."""


def load_harnesses() -> Registry:
    """Load the built-in and the installed third-party harnesses.

    A third-party entry point that is broken, or whose name is taken, becomes a warning and does not affect the others.
    """
    harnesses = dict(builtin.BUILT_IN)
    origins = dict.fromkeys(harnesses, "agentd")
    warnings: list[str] = []
    third_party = (point for point in entry_points_of(GROUP) if point.module != builtin.__name__)
    for point in sorted(third_party, key=lambda point: (point.name, _origin(point), point.value)):
        where = f'harness "{point.name}" ({point.value}, of {_origin(point)})'
        if point.name in harnesses:
            owner = origins[point.name]
            warnings.append(f"{where} is ignored: the name belongs to {owner}; register it under another name")
            continue
        try:
            harnesses[point.name] = _load(point)
        except Exception as error:  # noqa: BLE001 (a third party's code may raise anything; it must not stop the daemon)
            warnings.append(f"{where} cannot be used: {_one_line(error)}")
            continue
        origins[point.name] = _origin(point)
    return Registry(MappingProxyType(harnesses), tuple(warnings))


def _load(point: EntryPoint) -> Harness:
    loaded: object = point.load()
    # A class has the members of its instances, so it would pass for one.
    if callable(loaded) and (isinstance(loaded, type) or _missing(loaded)):
        loaded = loaded()
    missing = _missing(loaded)
    if missing:
        raise _UnusableError(
            f"expected an object with {', '.join(_MEMBERS)}, or something that gives one when called; "
            f"found {type(loaded).__name__} without {', '.join(missing)}"
        )
    if not isinstance(loaded, Harness):
        raise _UnusableError(f"{type(loaded).__name__} does not satisfy agentd.harness.base.Harness")
    binary: object = loaded.binary
    if not isinstance(binary, str) or not binary:
        raise _UnusableError(f"expected binary to be the name of a program, found {binary!r}")
    return loaded


def _missing(candidate: object) -> list[str]:
    return [name for name in _MEMBERS if not hasattr(candidate, name)]


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, _UnusableError) else f"{type(error).__name__}: {text}"
