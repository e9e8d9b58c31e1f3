"""Bringing a database to the newest schema."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from agentd.gateway.store.migrations import HEAD


class SchemaError(Exception):
    """A database has another schema than this gateway needs; the text says what to do."""


def migrate(connection: Connection) -> str | None:
    """Bring a database to the newest schema, in the transaction of the connection.

    Returns
    -------
    The revision that it had before, ``None`` if it was empty or of the newest.

    Raises
    ------
    SchemaError
        If a newer gateway made it.
    """
    found = _revision(connection)
    if found == HEAD:
        return None
    _check_known(found)
    _upgrade(connection)
    return found


def check(connection: Connection) -> None:
    """Make sure that a database has the newest schema.

    Raises
    ------
    SchemaError
        If it has not.
    """
    found = _revision(connection)
    if found == HEAD:
        return
    _check_known(found)
    state = "is empty" if found is None else f"has the schema {found}"
    raise SchemaError(f"the database {state}, expected {HEAD}: run agentd-gateway migrate, or leave out --no-migrate")


def _check_known(found: str | None) -> None:
    if found is not None and found > HEAD:
        raise SchemaError(
            f"the database has the schema {found}, newer than {HEAD}, the newest that is known here: "
            "start the agentd-gateway that made it, or a newer one"
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 (0.2 s, and rarely needed)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "agentd.gateway.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
