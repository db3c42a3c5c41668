"""Brings a database file to the newest schema."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from whet_server.errors import StorageUnavailable

NEWEST: Final = "0003"
"""The last migration. A test holds it equal to what the migrations say, so that a file that is up to date is opened
without loading the migration library."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection, target: str = NEWEST) -> None:
    """Apply what is missing, within the caller's transaction. Raises `StorageUnavailable` for a file of a newer
    server.
    """
    found = version(connection)
    if found == target:
        return
    # Loaded here: only a first start or an update needs it, and it costs memory and time.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StorageUnavailable(
            f"the database has schema {found}, which is newer than this server's {NEWEST}: start the newer version"
        )
    command.upgrade(config, target)


def version(connection: Connection) -> str | None:
    """Return the migration that the file is at; None for an empty file."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found
