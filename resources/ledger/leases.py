"""Leases: one writer for an account. They guard processes, so they run on the wall clock."""

import os
import socket
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from uuid import uuid4

from quant_assets.errors import LeaseLost
from quant_assets.records import Book
from resources.ledger.database import Database
from resources.ledger.rows import utc

_TAKE = """
INSERT INTO leases (account, holder, token, until) VALUES (?, ?, ?, ?)
ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until"""
_RELEASE = "UPDATE leases SET holder = '', until = '' WHERE account = ? AND holder = ? AND token = ?"


class Lease:
    """The right to write an account, and the fencing token that proves it."""

    def __init__(self, database: Database, book: Book, seconds: float) -> None:
        self._db = database
        self._account = book.account
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex}"
        now = datetime.now(UTC)
        with database.transaction() as tx:
            found = tx.execute("SELECT holder, token, until FROM leases WHERE account = ?", (self._account,)).fetchone()
            if found is not None and found["until"] > utc(now) and not _gone(found["holder"]):
                raise LeaseLost(
                    f"another process writes account {self._account} until {found['until']}; wait for it, or stop it"
                )
            self._token = 1 if found is None else found["token"] + 1
            tx.execute(_TAKE, (self._account, self._holder, self._token, utc(now + timedelta(seconds=seconds))))

    def check(self, tx: Connection) -> None:
        """Raise LeaseLost unless the lease is still held, in the transaction that writes."""
        found = tx.execute("SELECT holder, token FROM leases WHERE account = ?", (self._account,)).fetchone()
        if found is None or (found["holder"], found["token"]) != (self._holder, self._token):
            raise LeaseLost(
                f"this process is no longer the writer of account {self._account}; nothing more is sent from here"
            )

    def release(self) -> None:
        """Give the account free, unless another process took it over."""
        with self._db.transaction() as tx:
            tx.execute(_RELEASE, (self._account, self._holder, self._token))


def _gone(holder: str) -> bool:
    """Whether a process of this machine is gone; of another machine nothing is known, its lease has to run out."""
    host, pid, _ = holder.split("/")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
