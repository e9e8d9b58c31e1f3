"""The client of agentd-fleet's socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from agentd.cli.agentctl.client import Api, ApiError, Json, view, views
from agentd.cli.agentctl.command import CommandError
from agentd.fleet.protocol import (
    AGENTS_PATH,
    APPLY_PATH,
    DRAIN_PATH,
    FLEET_PATH,
    FORGET_PATH,
    HOSTS_PATH,
    PLAN_PATH,
    REBALANCE_PATH,
    UNCORDON_PATH,
    AssignmentView,
    FleetView,
    HostView,
    JcardBody,
    PlacedView,
    PlanView,
)

_REFUSED = 422


@dataclass(frozen=True, slots=True)
class FleetClient:
    """Asks about the fleet; raises what `Api` does."""

    api: Api

    def fleet(self) -> FleetView:
        """Read how the fleet is doing."""
        return view(FleetView, self.api.get(FLEET_PATH))

    def hosts(self) -> list[HostView]:
        """Read the hosts."""
        return views(HostView, self.api.get(HOSTS_PATH))

    def placed(self) -> list[PlacedView]:
        """Read where all agents are, or are to be."""
        return views(PlacedView, self.api.get(AGENTS_PATH))

    def plan(self, body: JcardBody) -> PlanView:
        """Ask what applying a jcard would do."""
        return self._plan(PLAN_PATH, asdict(body))

    def apply(self, body: JcardBody) -> PlanView:
        """Apply a jcard."""
        return self._plan(APPLY_PATH, asdict(body))

    def drain(self, host: str) -> PlanView:
        """Have a host emptied."""
        return self._plan(DRAIN_PATH, {"host": host})

    def uncordon(self, host: str) -> PlanView:
        """Have a host take agents again."""
        return self._plan(UNCORDON_PATH, {"host": host})

    def forget(self, host: str) -> PlanView:
        """Say that nothing runs on a lost host any more."""
        return self._plan(FORGET_PATH, {"host": host})

    def rebalance(self, *, dry_run: bool) -> PlanView:
        """Even out the hosts, or say what that would do."""
        return self._plan(REBALANCE_PATH, {"dry_run": dry_run})

    def _plan(self, path: str, body: Json) -> PlanView:
        try:
            return plan_of(self.api.post(path, body))
        except ApiError as error:
            if error.status != _REFUSED:
                raise
            raise CommandError("; ".join(str(error).splitlines())) from None


def plan_of(document: Json) -> PlanView:
    """Read a plan.

    Raises
    ------
    ApiError
        If it is none.
    """
    found = view(PlanView, document)
    assignments = document.get("assignments") if isinstance(document, Mapping) else None
    return PlanView(views(AssignmentView, assignments), found.warnings, found.applied)
