"""The Breaks port: differences with the venue, opened once and closed by a person."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from quant_assets.errors import ExecutionError
from quant_assets.records import Break
from resources.ledger.audit import record
from resources.ledger.database import Database
from resources.ledger.rows import columns, insert, utc

_LISTED = """
SELECT *, CASE
    WHEN resolved_at IS NULL THEN 'open'
    WHEN differs AND kind IN ('position', 'cash') THEN 'resolved, but still differs'
    ELSE 'resolved' END AS state
FROM breaks WHERE (? IS NULL OR book = ?) AND (? = 0 OR state <> 'resolved')
ORDER BY session, opened_at, break_id"""
_COMPARED = """
UPDATE breaks SET differs = break_id IN (SELECT value FROM json_each(?)) WHERE book = ?"""
_RESOLVE = """
UPDATE breaks SET resolved_at = ?, resolved_by = ?, resolution = ? WHERE break_id = ? AND resolved_at IS NULL"""


class SqliteBreaks:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, found: Break, *, now: datetime) -> bool:
        """See the port."""
        with self._db.transaction() as tx:
            known = tx.execute("SELECT 1 FROM breaks WHERE break_id = ?", (found.break_id,)).fetchone()
            if known is None:
                insert(tx, "breaks", {**columns(found), "opened_at": utc(now)})
        return known is None

    def compared(self, book: str, found: Sequence[Break]) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute(_COMPARED, (json.dumps([b.break_id for b in found]), book))

    def listed(self, book: str | None = None, *, open_only: bool = True) -> Sequence[Mapping[str, str]]:
        """See the port."""
        found = self._db.rows(_LISTED, book, book, int(open_only))
        return [{k: r[k] or "" for k in r.keys() if k != "differs"} for r in found]  # noqa: SIM118  # a Row iterates over values

    def resolve(self, break_id: str, *, by: str, reason: str, now: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            if tx.execute(_RESOLVE, (utc(now), by, reason, break_id)).rowcount != 1:
                raise ExecutionError(f"no open break {break_id}; `quant breaks list` shows them")
            record(tx, "resolve break", break_id, by=by, reason=reason, now=now)
