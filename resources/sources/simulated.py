"""A market data source over a simulated market whose truth is known.

See `market` and `deliveries` for what is in it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from quant_assets.errors import CaptureUnreadable
from quant_assets.records import Capture
from resources.sources.deliveries import action_rows, deliveries, price_file
from resources.sources.market import DECLARED_AHEAD, NEVER, SECTORS, Market, paths
from resources.sources.rows import ACTIONS, LISTINGS, parse

DELIVERED = time(11, 0)  # UTC, on the calendar day after the label
LATE_BY = timedelta(hours=5)  # after the next open


class SimulatedMarket:
    """The MarketDataSource port on a `Market`, generated when first read and the same bits for the same
    configuration.
    """

    name = "simulated"

    def __init__(self, market: Market) -> None:
        self.market = market

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        missing = deliveries(self.market).missing
        return [
            s
            for t, s in enumerate(paths(self.market).sessions)
            if t not in missing and (first is None or s >= first) and (last is None or s <= last)
        ]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: what was made once is made the same for ever."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where there is no capture of that label."""
        market, plan = paths(self.market), deliveries(self.market)
        if label not in market.sessions or (t := market.sessions.index(label)) in plan.missing:
            raise CaptureUnreadable(
                f"simulated: no capture is labelled {label}; the market runs from {market.sessions[0]} to "
                f"{market.sessions[-1]}"
            )
        text = price_file(self.market, t)
        file = f"{label:%Y%m%d}.csv"
        prices, malformed = parse(text, file)
        listings, actions = self._listings(t), self._actions(t, f"{label:%Y%m%d}_actions.csv")
        contents = (text, listings.write_csv(), actions.write_csv())
        return Capture(
            source=self.name,
            label=label,
            location=f"simulated market, seed {self.market.seed}",
            sha256=hashlib.sha256("\0".join(contents).encode()).hexdigest(),
            known_at=self._known_at(t, late=t in plan.late),
            assumed=False,
            prices=prices,
            listings=listings,
            actions=actions if self.market.declares_actions else None,
            malformed=malformed,
        )

    def _known_at(self, t: int, *, late: bool) -> datetime:
        label = paths(self.market).sessions[t]
        if late:
            return (self.market.calendar.open(self.market.calendar.shift(label, 1)) + LATE_BY).astimezone(UTC)
        if self.market.delivered is not None:
            return self.market.calendar.close(label) + timedelta(minutes=self.market.delivered)
        return datetime.combine(label + timedelta(days=1), DELIVERED, UTC)

    def _listings(self, t: int) -> pl.DataFrame:
        market = paths(self.market)
        rows = [
            (market.symbol(i, t), market.names.titles[i], SECTORS[int(market.names.sectors[i])])
            for i in np.flatnonzero(market.listed[t]).tolist()
        ]
        return pl.DataFrame(rows, schema=LISTINGS, orient="row").sort("symbol")

    def _actions(self, t: int, file: str) -> pl.DataFrame:
        market = paths(self.market)
        rows = [
            (
                market.symbol(i, t),
                market.sessions[ex],
                kind,
                numerator,
                denominator,
                None if cash is None else f"{cash:.2f}",
                value,
                None,
                file,
                line,
            )
            for line, (ex, i, kind, numerator, denominator, cash, value) in enumerate(
                action_rows(market, t, DECLARED_AHEAD), start=2
            )
        ]
        return pl.DataFrame(rows, schema={**ACTIONS, "cash": pl.String}, orient="row").with_columns(
            pl.col("cash").cast(ACTIONS["cash"])
        )

    @cached_property
    def truth(self) -> "Truth":
        """What really happened."""
        return _truth(self.market)


@dataclass(frozen=True)
class Truth:
    """The planted facts. A company is known by `company`, its position, whatever its symbol; sessions are ex-sessions.

    bars: session, company, symbol, open, high, low, close, volume, surge (the characteristic that predicts)
    companies: company, name, sector, symbol, first, last (null for those that live on)
    splits: session, company, symbol, numerator, denominator
    dividends: session, company, symbol, cash
    delistings: session (first without trading), company, symbol, value, announced
    symbol_changes: session, company, old, new
    reuses: session, company (the new one), symbol
    halts: session, company, symbol
    captures: label, kind (missing, thin, late)
    defects: session, company, symbol, kind (restatement, duplicate, conflict, malformed), corrected (session whose
    capture has it right), detail strength: k, the log return a unit of surge adds to each of the next five sessions
    """

    bars: pl.DataFrame
    companies: pl.DataFrame
    splits: pl.DataFrame
    dividends: pl.DataFrame
    delistings: pl.DataFrame
    symbol_changes: pl.DataFrame
    reuses: pl.DataFrame
    halts: pl.DataFrame
    captures: pl.DataFrame
    defects: pl.DataFrame
    strength: float


def _truth(m: Market) -> Truth:
    market, plan = paths(m), deliveries(m)
    names, sessions = market.names, market.sessions
    last = len(sessions)

    def cells(
        flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
        **columns: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    ) -> pl.DataFrame:
        t, i = np.nonzero(flags)
        named = {
            "session": [sessions[n] for n in t.tolist()],
            "company": i,
            "symbol": [market.symbol(c, n) for n, c in zip(t.tolist(), i.tolist(), strict=True)],
        }
        schema = {"session": pl.Date, "company": pl.Int64, "symbol": pl.String}
        return pl.DataFrame({**named, **{c: v[t, i] for c, v in columns.items()}}, schema_overrides=schema)

    everyone = range(len(names.begin))
    ends = [i for i in everyone if names.end[i] < last]
    changes = [i for i in everyone if names.changed[i] < NEVER]
    dead = {names.symbols[0][i]: i for i in ends}
    heirs = [i for i in everyone if names.begin[i] > 0 and dead.get(names.symbols[0][i], i) != i]
    captures = sorted(
        (sessions[t], kind)
        for kind, when in (("missing", plan.missing), ("thin", plan.thin), ("late", plan.late))
        for t in when
    )
    return Truth(
        bars=cells(market.trades, **market.prices, volume=market.volume, surge=market.surge),
        companies=pl.DataFrame(
            [
                (
                    i,
                    names.titles[i],
                    SECTORS[int(names.sectors[i])],
                    names.symbols[0][i],
                    sessions[int(names.begin[i])],
                    sessions[int(names.end[i]) - 1] if names.end[i] < last else None,
                )
                for i in everyone
            ],
            schema={
                "company": pl.Int64,
                "name": pl.String,
                "sector": pl.String,
                "symbol": pl.String,
                "first": pl.Date,
                "last": pl.Date,
            },
            orient="row",
        ),
        splits=cells(
            market.numerator != market.denominator, numerator=market.numerator, denominator=market.denominator
        ),
        dividends=cells(market.cash > 0, cash=market.cash),
        delistings=pl.DataFrame(
            [
                (sessions[int(names.end[i])], i, market.symbol(i, last), float(names.value[i]), bool(names.merged[i]))
                for i in ends
            ],
            schema={
                "session": pl.Date,
                "company": pl.Int64,
                "symbol": pl.String,
                "value": pl.Float64,
                "announced": pl.Boolean,
            },
            orient="row",
        ),
        symbol_changes=pl.DataFrame(
            [(sessions[int(names.changed[i])], i, names.symbols[0][i], names.symbols[1][i]) for i in changes],
            schema={"session": pl.Date, "company": pl.Int64, "old": pl.String, "new": pl.String},
            orient="row",
        ),
        reuses=pl.DataFrame(
            [(sessions[int(names.begin[i])], i, names.symbols[0][i]) for i in heirs],
            schema={"session": pl.Date, "company": pl.Int64, "symbol": pl.String},
            orient="row",
        ),
        halts=cells(market.listed & ~market.trades),
        captures=pl.DataFrame(captures, schema={"label": pl.Date, "kind": pl.String}, orient="row"),
        defects=pl.DataFrame(
            [
                (
                    sessions[d.t],
                    d.i,
                    market.symbol(d.i, d.t),
                    d.kind,
                    sessions[d.t + max(d.lag, 0 if d.kind == "duplicate" else 1)],
                    d.detail,
                )
                for d in plan.defects
            ],
            schema={
                "session": pl.Date,
                "company": pl.Int64,
                "symbol": pl.String,
                "kind": pl.String,
                "corrected": pl.Date,
                "detail": pl.String,
            },
            orient="row",
        ).sort("session", "company"),
        strength=market.strength,
    )
