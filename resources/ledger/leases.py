"""Leases: one writer for an account. They guard processes, so they run on the wall clock."""

from datetime import UTC, datetime, timedelta
from sqlite3 import Connection, Row
from uuid import uuid4

from quant_assets.errors import LeaseLost
from quant_assets.records import Book
from resources.ledger.database import Database
from resources.ledger.processes import Process, gone, this_process
from resources.ledger.rows import utc

_FOUND = "SELECT * FROM leases WHERE account = ?"
_TAKE = """
INSERT OR REPLACE INTO leases (account, token, until, holder, host, boot, pid, started)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_RELEASE = "UPDATE leases SET holder = '', until = '' WHERE account = ? AND holder = ? AND token = ?"


class Lease:
    """The right to write an account, and the fencing token that proves it.

    Raises LeaseLost where another one holds it. That of a process that is gone is free at once; that of another host
    runs out.
    """

    def __init__(self, database: Database, book: Book, seconds: float) -> None:
        self._db = database
        self._account = book.account
        self._holder = uuid4().hex
        me, now = this_process(), datetime.now(UTC)
        with database.transaction() as tx:
            found = tx.execute(_FOUND, (self._account,)).fetchone()
            if found is not None and _held(found, now):
                raise LeaseLost(
                    f"process {found['pid']} on {found['host'].partition(' ')[0]} writes account {self._account} "
                    f"until {found['until']}; wait for it, or stop it"
                )
            self._token = 1 if found is None else found["token"] + 1
            until = utc(now + timedelta(seconds=seconds))
            mine = (self._account, self._token, until, self._holder, me.host, me.boot, me.pid, me.started)
            tx.execute(_TAKE, mine)

    def check(self, tx: Connection) -> None:
        """Raise LeaseLost unless the lease is still held, in the transaction that writes."""
        found = tx.execute(_FOUND, (self._account,)).fetchone()
        if found is None or (found["holder"], found["token"]) != (self._holder, self._token):
            raise LeaseLost(
                f"this process is no longer the writer of account {self._account}; nothing more is sent from here"
            )

    def release(self) -> None:
        """Give the account free, unless another process took it over."""
        with self._db.transaction() as tx:
            tx.execute(_RELEASE, (self._account, self._holder, self._token))


def _held(lease: Row, now: datetime) -> bool:
    holder = Process(lease["host"], lease["boot"], lease["pid"], lease["started"])
    return lease["until"] > utc(now) and not gone(holder)
