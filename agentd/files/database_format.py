"""The version of a database's format, in the file itself: an older agentd leaves alone what a newer one wrote."""

from __future__ import annotations

import sqlite3
from typing import Final

UNNUMBERED: Final = 0
"""What SQLite says of a file that was made before there were versions; it is read as version 1."""


class NewerFormatError(sqlite3.DatabaseError):
    """The file is of a later version of agentd."""


def stamp(connection: sqlite3.Connection, version: int) -> None:
    """Write the version into a database that is being made."""
    connection.execute(f"PRAGMA user_version={version:d}")


def check(connection: sqlite3.Connection, version: int) -> None:
    """Check that a database is of this version or a former one.

    Raises
    ------
    NewerFormatError
        If not: nothing may be written to it, and nothing read that may mean something else.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > version:
        raise NewerFormatError(
            f"it is of format {found}, this agentd knows formats up to {version}: it was written by a newer agentd; "
            "run that again, or move the file away"
        )
