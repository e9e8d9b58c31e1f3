"""What the journal tells of the accounts of providers, for a daemon that has just been started."""

from __future__ import annotations

import json
from typing import Final

import structlog

from agentd.recording.journal.database import JournalError
from agentd.recording.journal.entry import EventFilter
from agentd.recording.journal.journal import Journal
from agentd.supervise.accounts import TOLD_BY, Accounts

log = structlog.get_logger(__name__)

_MOST: Final = 2000
"""Events that are read, the newest: 20 ms."""

_MILLISECONDS: Final = 1000


async def remember_accounts(journal: Journal, accounts: Accounts) -> None:
    """Tell what was told before; a journal that cannot be read tells nothing."""
    wanted = EventFilter(kinds=frozenset(map(str, TOLD_BY)))
    try:
        reader = journal.reader(wanted, await journal.start_of_last(_MOST, wanted))
        try:
            while entries := await reader.take():
                for entry in entries:
                    data = json.loads(entry.body)["data"]
                    accounts.take(entry.kind, entry.agent, data, entry.time / _MILLISECONDS)
        finally:
            journal.leave(reader)
    except JournalError as error:
        log.warning("accounts_unknown", reason=str(error), effect="quotas count from their next news on")
