"""Say what a sandbox lets an agent do, and what changes of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from agentd.model.plan_report import PlannedOperation
from agentd.model.sandbox import SandboxStatus
from agentd.model.spec import Network

_REACHES: Mapping[str, str] = {Network.HOST: "all that this machine does", Network.NONE: "no network"}
_SYSTEM = "the system"
_WHAT_THERE_IS = "bubblewrap, or else gvisor"
_NOTHING = "none"


def sandbox_rows(sandbox: SandboxStatus) -> dict[str, str]:
    """Say it by what is said."""
    rows = {
        "sandbox": " with ".join([sandbox.kind or _WHAT_THERE_IS, *sandbox.extra_packages]),
        "may read": ", ".join([_SYSTEM, *sandbox.read_only_paths]),
        "may write": ", ".join([*sandbox.writable_paths, *_repository(sandbox), f"its home in {sandbox.home}"]),
        "may reach": ", ".join(sandbox.network_allow) or _REACHES.get(sandbox.network, sandbox.network),
        "secrets": "all" if sandbox.secrets is None else ", ".join(sandbox.secrets) or _NOTHING,
    }
    if sandbox.egress_secrets:
        rows["may use"] = ", ".join(f"{name} at {' and '.join(to)}" for name, to in sandbox.egress_secrets.items())
    return rows


def sandbox_line(sandbox: SandboxStatus) -> str:
    """Say it in one line."""
    rows = sandbox_rows(sandbox)
    return "; ".join([rows.pop("sandbox"), *(f"{what} {value}" for what, value in rows.items())])


def planned_rows(operation: PlannedOperation) -> Iterator[tuple[str, str]]:
    """Say what an agent that is to start may do, or what changes for one that is there."""
    before, after = operation.sandbox_before, operation.sandbox
    if after is not None and before is None:
        yield from sandbox_rows(after).items()
    elif after is not None and before is not None:
        for name in (field.name for field in fields(after)):
            yield from _difference(name, getattr(before, name), getattr(after, name))
    elif before is not None and operation.action != "stop":
        yield "sandbox", f"{before.kind or _WHAT_THERE_IS} -> none: it may do what its user may"


def _difference(name: str, before: object, after: object) -> Iterator[tuple[str, str]]:
    if isinstance(before, str | None) and isinstance(after, str | None):
        if before != after:
            yield name, f"{before or _NOTHING} -> {after or _NOTHING}"
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        before, after = ([f"{key} at {' and '.join(to)}" for key, to in each.items()] for each in (before, after))
    old, new = _words(before), _words(after)
    changes = [f"+{word}" for word in new if word not in old] + [f"-{word}" for word in old if word not in new]
    if changes:
        yield name, ", ".join(changes)


def _words(value: object) -> Sequence[str]:
    return [*map(str, value)] if isinstance(value, Sequence) and not isinstance(value, str) else ["all"]


def _repository(sandbox: SandboxStatus) -> list[str]:
    """A worktree's commits go into its repository."""
    return [] if sandbox.repository is None else [f"objects, refs and logs of {sandbox.repository}"]
