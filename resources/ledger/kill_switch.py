"""The KillSwitch port. Whether an order may leave is read in the transaction in which it leaves."""

from collections.abc import Callable, Sequence
from datetime import datetime
from sqlite3 import Row

from quant_assets.errors import ConfigurationError
from quant_assets.records import Book, Switch
from resources.ledger.audit import record
from resources.ledger.database import Database

_ALL = "all"
_ORDER = f"ORDER BY scope <> '{_ALL}', scope"  # as text: all, then accounts, then books
_LISTED = f"SELECT scope, is_on, reason FROM kill_switch {_ORDER}"
_SET = """
INSERT INTO kill_switch (scope, is_on, reason) VALUES (?, ?, ?)
ON CONFLICT (scope) DO UPDATE SET is_on = excluded.is_on, reason = excluded.reason"""
_ACT = "kill-switch {}"
_LAST_ACT = f"""
SELECT act, reason FROM audit WHERE subject = ? AND act IN ('{_ACT.format("on")}', '{_ACT.format("off")}')
ORDER BY seq DESC LIMIT 1"""
_ACTED = f"SELECT DISTINCT subject FROM audit WHERE act = '{_ACT.format('on')}' ORDER BY subject"
READ = f"SELECT scope, is_on, reason FROM kill_switch WHERE scope IN (?, ?, ?) {_ORDER}"


def scopes(book: Book | None) -> tuple[str, str, str]:
    """The values of READ: the switches that stop a book, or without one that for all."""
    return (_ALL, f"account {book.account}", f"book {book.name}") if book else (_ALL, _ALL, _ALL)


def in_force(ask: Callable[..., Sequence[Row]], book: Book | None) -> Switch:
    """The first switch that stops a book (without one: all books) by its row or by the record of acts; where none does,
    that for all, off. A row that was deleted or turned off without an act does not let anything out. `ask` gives the
    rows of a query and its values.
    """
    switch = first_on(ask(READ, *scopes(book)))
    if switch.on:
        return switch
    acted = (_by_acts(ask, scope) for scope in dict.fromkeys(scopes(book)))
    return next((s for s in acted if s is not None), switch)


def _by_acts(ask: Callable[..., Sequence[Row]], scope: str) -> Switch | None:
    """The switch of a scope that the last act on record turned on."""
    last = ask(_LAST_ACT, _subject(scope))
    if not last or last[0]["act"] != _ACT.format("on"):
        return None
    reason = f"{last[0]['reason']} (its row has it off, and no act on record turned it off)"
    return Switch(on=True, reason=reason, scope=scope)


def _subject(scope: str) -> str:
    """A scope as the record of acts names it."""
    return "all books" if scope == _ALL else scope


def _scope(subject: str) -> str:
    """The scope that the record of acts names."""
    return _ALL if subject == _subject(_ALL) else subject


def first_on(found: Sequence[Row]) -> Switch:
    """Of the rows of READ the first switch that is on; where none is, that for all, off."""
    switches = _switches(found)
    return next((s for s in switches if s.on), switches[0])


def _switches(found: Sequence[Row]) -> list[Switch]:
    """That for all is always stored; where it is missing it counts as on."""
    switches = [Switch(on=bool(r["is_on"]), reason=r["reason"], scope=r["scope"]) for r in found]
    if not switches or switches[0].scope != _ALL:
        return [Switch(on=True, reason="the switch's state is missing", scope=_ALL), *switches]
    return switches


class SqliteKillSwitch:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def state(self, book: Book | None = None) -> Switch:
        """See the port."""
        return in_force(self._db.rows, book)

    def listed(self) -> Sequence[Switch]:
        """See the port."""
        rows = _switches(self._db.rows(_LISTED))
        acted = [_scope(r["subject"]) for r in self._db.rows(_ACTED)]
        off = dict.fromkeys([*(s.scope for s in rows if not s.on), *sorted({*acted} - {s.scope for s in rows})])
        on = {scope: found for scope in off if (found := _by_acts(self._db.rows, scope))}
        return [*(on.pop(s.scope, s) for s in rows), *on.values()]

    def set(self, on: bool, *, scope: str = _ALL, by: str, reason: str, now: datetime) -> None:
        """See the port."""
        kind, _, name = scope.partition(" ")
        if scope != _ALL and (kind not in {"account", "book"} or not name):
            raise ConfigurationError(f"a kill switch is for 'all', 'account NAME' or 'book NAME', not {scope!r}")
        with self._db.transaction() as tx:
            tx.execute(_SET, (scope, int(on), reason))
            record(tx, _ACT.format("on" if on else "off"), _subject(scope), by=by, reason=reason, now=now)
