"""Migrations of the database, by Alembic; run by `agentd.gateway.store.migrating`."""

from __future__ import annotations

from typing import Final

HEAD: Final = "0005"
"""The newest one in ``versions``: a start need not import Alembic (0.2 s) to know that there is nothing to do."""
