"""The adapters by harness: built-in ones and those of third parties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import MappingProxyType

from agentd.files.entry_points import entry_points_of
from agentd.turns.acp.adapter import ACP
from agentd.turns.adapter import GROUP, Adapter
from agentd.turns.claude.adapter import CLAUDE
from agentd.turns.codex.adapter import CODEX
from agentd.turns.custom.adapter import CUSTOM
from agentd.turns.gemini.adapter import GEMINI
from agentd.turns.opencode.adapter import OPENCODE

_MEMBERS = tuple(name for name in vars(Adapter) if not name.startswith("_"))

BUILT_IN: Mapping[str, Adapter] = MappingProxyType(
    {"acp": ACP, "claude-code": CLAUDE, "codex": CODEX, "custom": CUSTOM, "gemini-cli": GEMINI, "opencode": OPENCODE}
)
"""By the name that a jcard gives as ``harness``."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """The usable adapters, and what is wrong with the others."""

    by_harness: Mapping[str, Adapter]
    warnings: tuple[str, ...] = ()
    """One line each, for the caller to log."""


def load_adapters() -> Adapters:
    """Load the built-in and the installed third-party adapters.

    A third-party entry point that is broken, or whose name is taken, becomes a warning and does not affect the others.
    """
    adapters, warnings = dict(BUILT_IN), list[str]()
    for point in sorted(entry_points_of(GROUP), key=lambda point: (point.name, point.value)):
        where = f'the turns of harness "{point.name}" ({point.value})'
        if point.name in adapters:
            warnings.append(f"{where} are ignored: another package, or agentd itself, has some for it")
            continue
        try:
            adapters[point.name] = _load(point)
        except Exception as error:  # noqa: BLE001 (a third party's code may raise anything; it must not stop the daemon)
            warnings.append(f"{where} cannot be used: {type(error).__name__}: {' '.join(str(error).split())}")
    return Adapters(MappingProxyType(adapters), tuple(warnings))


def _load(point: EntryPoint) -> Adapter:
    loaded: object = point.load()
    if callable(loaded) and (isinstance(loaded, type) or not isinstance(loaded, Adapter)):
        loaded = loaded()
    if not isinstance(loaded, Adapter):
        missing = ", ".join(name for name in _MEMBERS if not hasattr(loaded, name))
        raise TypeError(f"expected an agentd.turns.adapter.Adapter, found {type(loaded).__name__} without {missing}")
    return loaded
