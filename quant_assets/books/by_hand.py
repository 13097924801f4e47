"""What a person books where our ledger and the venue's record differ: checked, stored, and booked with a session."""

from datetime import date
from decimal import Decimal

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.currencies import CURRENCIES
from quant_assets.errors import ConfigurationError, DataError, ExecutionError
from quant_assets.ports import Entries, Executions, Store
from quant_assets.records import Act, Book, Entry, content_id
from quant_assets.tables import LISTINGS, NAV

PLACES = 6  # decimals of stored money
MOST = 10**15  # shares, or units of the currency: more is a slip of the hand


def book_by_hand(
    store: Store,
    executions: Executions,
    entries: Entries,
    cuts: Cuts,
    book: Book,
    *,
    session: date,
    sid: int,
    quantity: int,
    amount: Decimal,
    corrects: str,
    act: Act,
    currency: str = "",
) -> tuple[Entry, date]:
    """Store an entry of `session`, and return it with the session that will book it: the first from there on that is
    not booked yet.

    Raises ConfigurationError for a research book, CalendarUnknown for no session, ExecutionError for an entry that
    moves nothing or cannot be booked, or corrects an execution that is not booked.
    """
    _check(book, sid, quantity, amount)
    if sid and currency:
        raise ExecutionError("cash with a name is in that name's currency; leave out --currency")
    if currency and currency not in CURRENCIES:
        raise ExecutionError(f"ISO 4217 has no currency {currency!r}")
    other = "" if currency == book.currency else currency
    cuts.calendar.index(session)
    nav = store.read(NAV, as_of=None, where={"book": book.name}, columns=())
    if nav.is_empty():
        raise ExecutionError(f"{book.name} has no session booked yet; run its first day, then book by hand")
    following = cuts.calendar.after(nav["session"][-1])
    if session > following:
        raise ExecutionError(f"{session} is too far ahead: the next session that {book.name} books is {following}")
    if corrects and not any(f.exec_id == corrects for f in executions.trades(book.name, [corrects])):
        raise ExecutionError(f"{book.name} has booked no execution {corrects}; the table `fills` has their exec_id")
    terms = (book.name, session, sid, quantity, f"{amount:f}", corrects, act.by, act.reason, act.at)
    entry = Entry(
        entry_id=content_id("entry", *terms, *([other] if other else []), length=16),
        book=book.name,
        session=session,
        sid=sid,
        quantity=quantity,
        amount=amount,
        corrects=corrects,
        by=act.by,
        reason=act.reason,
        at=act.at,
        currency=other,
    )
    entries.add(entry)
    return entry, max(session, following)


def _check(book: Book, sid: int, quantity: int, amount: Decimal) -> None:
    if book.research:
        raise ConfigurationError(
            f"{book.name} is a research book: it follows from its decisions, and nothing is booked"
        )
    if not quantity and not amount:
        raise ExecutionError("an entry moves shares (--quantity), cash (--cash) or both; this one moves nothing")
    if bool(quantity) and not sid:
        raise ExecutionError("say of which name the shares are: --symbol or --sid")
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > PLACES or max(abs(amount), abs(quantity)) >= MOST:
        raise ExecutionError(f"{quantity} shares and {amount} in cash: at most {PLACES} decimals, and below {MOST:.0e}")


def named(store: Store, symbol: str) -> int:
    """The sid that trades under a symbol, by the listings known last. Raises DataError where it is none or several."""
    listed = in_force(store.read(LISTINGS, as_of=None), LISTINGS).sort("session").unique("sid", keep="last")
    found = listed.filter(pl.col("symbol") == symbol)["sid"].sort().to_list()
    if len(found) != 1:
        raise DataError(f"{len(found)} names trade as {symbol!r}{f': sids {found}' if found else ''}; give --sid")
    return found[0]


def known(store: Store, sid: int) -> int:
    """The sid itself. Raises DataError where no listing has it: nothing would ever give it a price."""
    if store.read(LISTINGS, as_of=None, where={"sid": sid}, columns=()).is_empty():
        raise DataError(f'no listing has sid {sid}; `quant sql "select sid, symbol from listings"` shows them')
    return sid
