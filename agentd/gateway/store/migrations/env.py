"""How Alembic runs the migrations: on the connection that it is given."""

from __future__ import annotations

from alembic import context

from agentd.gateway.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot change most of a table in place; a copy takes its place then.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
