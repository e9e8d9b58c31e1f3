"""The field ``budget`` of an agent table: what it may use up. Money is exact: a text, since a TOML number is not."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.field_types import enumeration, whole
from agentd.model.budgets import BreachAction, Budget
from agentd.text.quoting import quote, show

_AMOUNT: Final = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)"
MOST_TURNS: Final = 1_000_000

EXAMPLE: Final = '{ usd = "5/run", turns = 50 }'

_PER_RUN, _PER_DAY = "/run", "/day"


def money_from_toml(value: object, per: str) -> Decimal:
    """Parse an amount of US dollars, such as ``5.50``, with or without what it is for, such as ``/run``.

    Raises
    ------
    ValueError
        If it is none.
    """
    expected = f'expected US dollars as a text, such as "5" or "5.50{per}"'
    found = re.fullmatch(_AMOUNT + f"(?:{per})?", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        rule = "write it in quotes, so that it is exact" if number else "with six decimals at most"
        raise ValueError(f"found {show(value)}, {expected}: {rule}")
    amount = Decimal(found[1])
    if not amount:
        raise ValueError(f"found {quote(str(value))}, which is nothing at all; leave it out for no limit")
    return amount.normalize() if amount != amount.to_integral() else amount.quantize(Decimal(1))


def _money(per: str) -> BeforeValidator:
    return BeforeValidator(lambda value: money_from_toml(value, per))


def _schema(per: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": whole(_AMOUNT + f"(?:{per})?")})


class BudgetTable(BaseModel):
    """The table that ``budget`` is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    usd: Annotated[Decimal, _money(_PER_RUN), _schema(_PER_RUN)] | None = Field(
        None, description="US dollars that one run may cost, as its program says: 5, or 5.50/run, in quotes."
    )
    day: Annotated[Decimal, _money(_PER_DAY), _schema(_PER_DAY)] | None = Field(
        None, description="US dollars that the agent may cost in a day, by the local clock of agentd."
    )
    turns: int | None = Field(None, ge=1, le=MOST_TURNS, description="Turns that one run may have.")
    on_breach: Annotated[BreachAction, Field(strict=False), enumeration([*BreachAction])] | None = Field(
        None,
        description="pause: the turn under way is interrupted, and no other begins until there is budget again. stop: "
        "the agent is stopped. notify: an event tells, and nothing else is done. Default: pause.",
    )


def budget_of(table: BudgetTable | None) -> Budget | None:
    """What the field declares."""
    return None if table is None else Budget(table.usd, table.day, table.turns, table.on_breach)
