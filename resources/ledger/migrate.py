"""Brings the file of an older ledger to this release's schema: in one transaction, after a copy of the file."""

import sqlite3
from contextlib import closing
from pathlib import Path

from quant_assets.durable import put
from resources.ledger.database import BUSY_SECONDS
from resources.ledger.open import REVISION, revision

MIGRATIONS = Path(__file__).with_name("migrations")


def outdated(path: Path) -> str | None:
    """The revision of a ledger that has an older schema; None where there is nothing to do. Reads only."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        found = revision(connection)
    return found if found is not None and found < REVISION else None


def back_up(path: Path, name: str) -> Path:
    """Copy a database to `<its name>.bak-<name>` beside it and return that; durable when it returns.

    Killed in the middle it leaves a `.part`, and the next call begins again.
    """
    copy = path.with_name(f"{path.name}.bak-{name}")
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("VACUUM INTO ?", (str(part),))
    return put(part, copy)


def upgrade(path: Path) -> None:
    """Run the migrations that a ledger does not have yet, all or none; a file without a table becomes a new ledger."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import Connection
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:
        # the driver begins no transaction by itself: what follows is one, tables included
        return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", begin)
    config = Config(attributes={})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        driver = connection.connection.driver_connection
        found = revision(driver) if isinstance(driver, sqlite3.Connection) else None
        if found == "0001":  # written before migrations existed
            command.stamp(config, found)
        command.upgrade(config, REVISION)
    engine.dispose()
