"""`quant ledger …`: what a person books by hand, where our ledger is wrong; every act is on record."""

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from jobs.commands.options import DAY, AsJson, By, Reason, acted, producing, workspace

ledger_app = typer.Typer(no_args_is_help=True, help="Book by hand what our ledger lacks, and list what was booked so.")


def _money(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is no amount; write it as in -1000.50") from error


@ledger_app.command("book")
def ledger_book(
    book: Annotated[str, typer.Option("--book", metavar="BOOK", help="Of which book.")],
    session: Annotated[date, typer.Option("--session", help="The session that it is of.", **DAY)],
    by: By,
    reason: Reason,
    symbol: Annotated[str, typer.Option("--symbol", help="Of which name, as it is called now.")] = "",
    sid: Annotated[int, typer.Option("--sid", help="The same by its id.")] = 0,
    quantity: Annotated[int, typer.Option("--quantity", help="Shares more; negative: less.")] = 0,
    cash: Annotated[
        Decimal, typer.Option("--cash", metavar="AMOUNT", parser=_money, help="Cash more; negative: less.")
    ] = Decimal(0),
    currency: Annotated[
        str, typer.Option("--currency", metavar="CODE", help="Of the cash, without a name; by default the book's.")
    ] = "",
    corrects: Annotated[str, typer.Option("--corrects", metavar="EXEC", help="The execution that it puts right.")] = "",
) -> None:
    """Book shares, cash or both of a traded book, so that it agrees with the venue. The next session that is booked has
    it.
    """
    from desk.lock import only_run
    from jobs.console import escape, say
    from quant_assets.books.by_hand import book_by_hand, known, named

    if symbol and sid:
        raise typer.BadParameter("give --symbol or --sid, not both")
    ws = producing()
    ws = ws.lane_of(book) if book in {b.name for b in ws.deployment.books} else ws
    with only_run(ws.home):
        entry, when = book_by_hand(
            ws.store,
            ws.ledger.executions,
            ws.ledger.entries,
            ws.cuts,
            ws.deployment.book(book),
            session=session,
            sid=named(ws.store, symbol) if symbol else known(ws.store, sid) if sid else 0,
            quantity=quantity,
            amount=cash,
            corrects=corrects,
            act=acted(by, reason),
            currency=currency.upper(),
        )
    what = f"{quantity:+,} shares and {cash:+,f}{f' {entry.currency}' if entry.currency else ''} in cash"
    say(
        f"Entry {entry.entry_id} by {escape(by)}: {what}. {when} books it, and "
        f"{escape(book)} trades again once its positions and cash agree with the venue's."
    )


@ledger_app.command("list")
def ledger_list(
    book: Annotated[str | None, typer.Option("--book", metavar="BOOK", help="Only this book.")] = None,
    as_json: AsJson = False,
) -> None:
    """What was booked by hand, oldest first."""
    import msgspec
    import polars as pl

    from jobs.console import frame

    rows = [msgspec.to_builtins(e) for e in workspace().ledger.entries.of(book)]
    frame(pl.DataFrame(rows), "json" if as_json else "table", title="booked by hand")
