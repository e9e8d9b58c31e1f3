"""What agents have used, in a file that agentd alone writes: it outlives agentd, or a restart would refill budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import structlog

from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from agentd.supervise.budgets import Account, Bound

log = structlog.get_logger(__name__)

FILE: Final = "budgets.json"
"""Name in the state directory."""

VERSION: Final = 1
"""Of the format."""


_FIELDS: Final = tuple(field.name for field in fields(Account))


class LedgerError(ValueError):
    """What was read is not what agentd writes."""


class Ledger:
    """The file.

    Parameters
    ----------
    path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = KeptFile(path, Format(VERSION, _accounts_of, key="version"), self._not_kept)
        self._found: dict[str, Account] | None = None

    def read(self) -> dict[str, Account]:
        """Give what a former daemon wrote, by agent in lower case; it is read once.

        What cannot be understood is left out, and said.
        """
        if self._found is None:
            self._found = self._read()
        return dict(self._found)

    def _read(self) -> dict[str, Account]:
        try:
            return self._file.read() or {}
        except UnusableError as error:
            effect = "what was used before does not count to any budget"
            log.warning("budgets_forgotten", path=str(self._file.path), reason=str(error), effect=effect)
            return {}

    def write(self, accounts: Mapping[str, Account], day: str, zone: str) -> bool:
        """Write what was used, in a thread that may wait for the disk, and say whether it need not be tried again.

        Parameters
        ----------
        day, zone
            The date, and the time zone that it is one of: only for people.
        """
        agents = {name: _plain(each) for name, each in accounts.items() if not each.is_unused}
        return self._file.keep({"day": day, "zone": zone, "agents": agents}) or self._file.newer

    def _not_kept(self, reason: str) -> None:
        log.warning("budgets_not_kept", path=str(self._file.path), reason=reason, effect="it is tried again")


def _accounts_of(found: Mapping[str, object]) -> dict[str, Account]:
    return {name: account(each) for name, each in _object(found.get("agents")).items()}


def _plain(each: Account) -> dict[str, object]:
    values = {name: getattr(each, name) for name in _FIELDS}
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def account(given: object) -> Account:
    """Read one account.

    Raises
    ------
    LedgerError
        If it is none.
    """
    found = _object(given)
    try:
        return Account(
            run=_text(found.get("run")),
            run_usd=_money(found.get("run_usd", "0")),
            run_turns=int(_number(found.get("run_turns", 0))),
            turn=_text(found.get("turn")),
            day=_text(found.get("day")) or "",
            day_usd=_money(found.get("day_usd", "0")),
            told_at=None if found.get("told_at") is None else _number(found["told_at"]),
            breached=tuple(bound for bound in Bound if bound in _texts(found.get("breached", []))),
        )
    except (InvalidOperation, OverflowError):
        raise LedgerError("expected a number, found something else") from None


def _object(found: object) -> Mapping[str, object]:
    if isinstance(found, dict):
        return found
    raise LedgerError("expected an object, found something else")


def _number(found: object) -> float:
    if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0:
        return found
    raise LedgerError("expected a number, found something else")


def _text(found: object) -> str | None:
    if found is None or isinstance(found, str):
        return found
    raise LedgerError("expected a text, found something else")


def _texts(found: object) -> list[object]:
    if isinstance(found, list):
        return found
    raise LedgerError("expected a list, found something else")


def _money(found: object) -> Decimal:
    amount = Decimal(_text(found) or "0")
    if not amount.is_finite() or amount < 0:
        raise LedgerError(f"expected an amount, found {amount}")
    return amount
