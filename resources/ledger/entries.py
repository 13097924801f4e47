"""The Entries port: what people book by hand, with the act of each in the audit."""

from collections.abc import Sequence
from datetime import date

from quant_assets.records import Entry
from resources.ledger.audit import record as record_act
from resources.ledger.database import Database
from resources.ledger.rows import columns, insert, record

_OF = """
SELECT * FROM entries WHERE (? IS NULL OR book = ?) AND session BETWEEN ? AND ? ORDER BY session, at, entry_id"""


class SqliteEntries:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, entry: Entry) -> None:
        """See the port."""
        what = f"{entry.book} {entry.session}: {entry.quantity:+d} of sid {entry.sid}, {entry.amount:+f} in cash"
        what += f" ({entry.currency})" if entry.currency else ""
        subject = f"{what}, corrects {entry.corrects}" if entry.corrects else what
        with self._db.transaction() as tx:
            record_act(tx, "book entry", subject, by=entry.by, reason=entry.reason, now=entry.at)
            insert(tx, "entries", columns(entry))

    def of(self, book: str | None = None, first: date | None = None, last: date | None = None) -> Sequence[Entry]:
        """See the port."""
        edges = ((first or date.min).isoformat(), (last or date.max).isoformat())
        return [record(r, Entry) for r in self._db.rows(_OF, book, book, *edges)]
