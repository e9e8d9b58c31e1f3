"""Where conversations can be forked, and what those of sessions began with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of what was before, nobody knows where to fork it."""
    op.add_column("sessions", sa.Column("fork_from", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("fork_point", sa.String(), nullable=True))
