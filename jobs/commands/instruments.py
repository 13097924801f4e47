"""`quant instruments …`: the security master: terms and identifiers of instruments, as known at a time."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, moment, workspace

if TYPE_CHECKING:
    import polars as pl

    from quant_assets.instruments import Instrument

instruments_app = typer.Typer(
    no_args_is_help=True, help="Look up instruments: their terms and identifiers, as known at a time."
)
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", metavar="TIME", parser=moment, help="Knowledge time, ISO 8601, UTC; default now."),
]


@instruments_app.command("list")
def instruments_list(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """The instruments whose terms are known. Any other counts single shares in the currency of its market."""
    from jobs.console import frame
    from quant_assets.market_data.master import listed

    at = as_of or datetime.now(UTC)
    rows = _rows(listed(workspace().store, at))
    frame(rows, "json" if as_json else "table", title=f"instruments as of {at:%Y-%m-%d %H:%M:%S} UTC")


@instruments_app.command("show")
def instruments_show(symbol: str, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """What one count of SYMBOL is: step, tick, multiplier, currency, expiry and identifiers."""
    _show("symbol", symbol, as_of, as_json=as_json)


@instruments_app.command("find")
def instruments_find(
    identifier: str,
    scheme: Annotated[
        str,
        typer.Option("--scheme", help="figi, isin, conid, exchange, symbol, or the vendor whose ticker it is."),
    ],
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """The instrument that IDENTIFIER means; one that means none or several is refused, with those that may be meant."""
    _show(scheme, identifier, as_of, as_json=as_json)


def _show(scheme: str, identifier: str, as_of: datetime | None, *, as_json: bool) -> None:
    from jobs.console import frame
    from quant_assets.market_data.master import find

    ws, at = workspace(), as_of or datetime.now(UTC)
    found = find(ws.store, at, scheme, identifier, ws.deployment.source.currency)
    frame(_rows([found]), "json" if as_json else "table", title=f"as of {at:%Y-%m-%d %H:%M:%S} UTC")


def _rows(found: "list[Instrument]") -> "pl.DataFrame":
    import polars as pl

    columns = (
        *("sid", "symbol", "kind", "currency", "calendar", "tick", "step", "multiplier", "min_notional"),
        *("underlying", "expiry", "first_notice"),
    )
    rows = [
        {c: getattr(one, c) if c == "sid" else str(getattr(one, c) or "") for c in columns}
        | {"identifiers": ", ".join(f"{scheme} {name}" for scheme, name in sorted(one.ids.items()))}
        for one in found
    ]
    return pl.DataFrame(rows, schema={c: pl.Int64 if c == "sid" else pl.String for c in (*columns, "identifiers")})
