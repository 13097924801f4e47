"""What a page says: the frames of a book's sessions, read once as of one cut, and what each section shows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from quant_assets.contract import Table, in_force
from quant_assets.frames import bounds
from quant_assets.instruments import Instrument
from quant_assets.market_data.listings import sectors
from quant_assets.market_data.master import instruments
from quant_assets.ports import Store
from quant_assets.post_trade.in_units import in_units
from quant_assets.post_trade.performance import BPS, called, pnl_by_name, pnl_by_sector
from quant_assets.records import Book
from quant_assets.signals.guardrails import REASONS, TRADE
from quant_assets.tables import (
    CAPTURES,
    CASH,
    COSTS,
    DATA_FINDINGS,
    DECISIONS,
    JOURNAL,
    LISTINGS,
    NAV,
    ORDERS,
    PNL,
    POSITIONS,
    QUARANTINE,
    VERDICTS,
)

ALWAYS = datetime.max.replace(tzinfo=UTC)
CARRIED: Mapping[str, str] = {
    "borrow": "what was borrowed for shorts",
    "funding": "perpetual contracts",
    "variation": "what margined names gained",
    "expiry": "contracts that ended",
}
"""The kinds of the journal that come of holding, with what they are of."""

Row = dict[str, Any]
BreakRows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Facts:
    """Rows of one book and its strategy in [first, last] as known at `cut`; `history` is NAV from the book's
    beginning; `instruments` are the terms of what it held and ordered.
    """

    book: Book
    first: date
    last: date
    cut: datetime | None
    history: pl.DataFrame
    pnl: pl.DataFrame
    cash: pl.DataFrame
    journal: pl.DataFrame
    positions: pl.DataFrame
    orders: pl.DataFrame
    costs: pl.DataFrame
    decisions: pl.DataFrame
    other_sets: int
    verdicts: pl.DataFrame
    quarantine: pl.DataFrame
    findings: pl.DataFrame
    captures: pl.DataFrame
    listings: pl.DataFrame
    instruments: Mapping[int, Instrument]

    @property
    def nav(self) -> pl.DataFrame:
        """NAV rows of the range."""
        return self.history.filter(pl.col("session") >= self.first)


def read(store: Store, book: Book, first: date, last: date) -> Facts:
    """Read what the pages show. The cut is the one at which `last` was booked (None: it is not booked, then all
    there is counts).
    """
    history = store.read(NAV, as_of=None, last=last, where={"book": book.name})
    booked = history.filter(pl.col("session") == last)
    cut: datetime | None = booked["known_at"][0] if booked.height else None

    def rows(table: Table, **where: str | int) -> pl.DataFrame:
        return store.read(table, as_of=cut, first=first, last=last, where=where)

    decisions = rows(DECISIONS, strategy=book.strategy)
    bound = (
        decisions.sort("session", "recorded_at", "decision_set_id")
        .unique("session", keep="first", maintain_order=True)
        .select("session", "decision_set_id")
    )
    positions = store.read(POSITIONS, as_of=cut, first=last, last=last, where={"book": book.name})
    orders = rows(ORDERS, book=book.name)
    sids = {*positions["sid"], *orders["sid"]}
    return Facts(
        book=book,
        first=first,
        last=last,
        cut=cut,
        history=history,
        pnl=rows(PNL, book=book.name),
        cash=rows(CASH, book=book.name),
        journal=rows(JOURNAL, book=book.name),
        positions=positions,
        orders=orders,
        costs=rows(COSTS, book=book.name),
        decisions=decisions.join(bound, on=["session", "decision_set_id"], how="semi"),
        other_sets=decisions["decision_set_id"].n_unique() - bound.height,
        verdicts=_latest_verdicts(rows(VERDICTS)),
        quarantine=in_force(rows(QUARANTINE), QUARANTINE).filter(pl.col("state") == "held"),
        findings=in_force(rows(DATA_FINDINGS), DATA_FINDINGS).filter(pl.col("severity") != "refuse"),
        captures=rows(CAPTURES),
        listings=store.read(LISTINGS, as_of=cut),
        instruments=instruments(store, sids, cut or ALWAYS, book.priced_in, last, book.elsewhere),
    )


def _latest_verdicts(verdicts: pl.DataFrame) -> pl.DataFrame:
    by = ["table", "session", "rule"]
    return verdicts.sort(*by, "known_at", "content_hash").unique(by, keep="last", maintain_order=True)


def names(facts: Facts) -> pl.DataFrame:
    """sid, symbol, sector: from the listings, else the symbol under which it was decided."""
    decided = (
        facts.decisions.sort("session", "sid")
        .unique("sid", keep="last", maintain_order=True)
        .select("sid", decided="symbol")
    )
    both = sectors(facts.listings).join(decided, on="sid", how="full", coalesce=True)
    return both.select("sid", symbol=pl.coalesce("symbol", "decided"), sector=pl.col("sector").fill_null("unknown"))


def _named(frame: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    return frame.join(names(facts), on="sid", how="left", maintain_order="left").with_columns(
        called(), pl.col("sector").fill_null("unknown")
    )


def _in_units(row: Row, facts: Facts, counts: Sequence[str], prices: Sequence[str]) -> Row:
    return in_units(row, facts.instruments[row["sid"]], facts.book.currency, counts, prices)


def pnl(facts: Facts, top: int) -> tuple[list[Row], list[Row], list[Row]]:
    """The best names, the worst (best of them first), and the sectors."""
    by_name = pnl_by_name(facts.pnl, facts.listings).drop("symbol", "sector")
    named = _named(by_name, facts)
    widest = max((abs(float(v)) for v in bounds(named["total"], Decimal) or ()), default=0.0) or 1.0
    sized = named.with_columns(width=pl.col("total").cast(pl.Float64).abs() / widest * 100)
    best, worst = sized.filter(pl.col("total") > 0).head(top), sized.filter(pl.col("total") < 0).tail(top)
    of_sector = pnl_by_sector(named.select("sid", "symbol", "sector", "holding", "trading", "income", "fees", "total"))
    widest = float(of_sector["total"].abs().max() or 0) or 1.0  # pyright: ignore[reportArgumentType]  # as above
    return (
        best.rows(named=True),
        worst.rows(named=True),
        of_sector.with_columns(width=pl.col("total").cast(pl.Float64).abs() / widest * 100).rows(named=True),
    )


def parts(facts: Facts) -> Row:
    """The parts of P&L over the range; `currencies` is None where the book had no other than its own."""
    rates = facts.pnl["currencies"].drop_nulls()
    summed = {c: facts.pnl[c].sum() for c in ("holding", "trading", "income", "fees", "total")}
    return summed | {"currencies": rates.sum() if rates.len() else None}


def balances(facts: Facts) -> list[Row]:
    """Cash by currency after `last`, with what the rates made of each over the range; empty where there is but one."""
    gains = facts.cash.group_by("currency").agg(pl.col("gain").sum())
    last = facts.cash.filter(pl.col("session") == facts.last).drop("gain")
    return last.join(gains, on="currency").sort("currency").rows(named=True)


def carried(facts: Facts) -> list[Row]:
    """What holding brought or cost over the range, by kind and currency, with how many names and what it is; empty
    where the book had no shorts, nothing that is margined, and no contract that ended.
    """
    found = facts.journal.filter(pl.col("kind").is_in(list(CARRIED)))
    summed = (
        found.with_columns(pl.col("currency").fill_null(facts.book.currency))
        .group_by("kind", "currency")
        .agg(amount=pl.col("amount").sum(), names=pl.col("sid").n_unique())
        .sort("kind", "currency")
    )
    return [row | {"meaning": CARRIED[row["kind"]]} for row in summed.iter_rows(named=True)]


def positions(facts: Facts, top: int) -> list[Row]:
    """The largest positions after `last`, with their share of equity."""
    equity = float(facts.nav["equity"][-1]) if facts.nav.height else 0.0
    rows = _named(facts.positions, facts).with_columns(
        value=pl.col("value").cast(pl.Float64), size=pl.col("value").cast(pl.Float64).abs()
    )
    weight = pl.col("value") / equity if equity > 0 else pl.lit(None, pl.Float64)  # of nothing there is no share
    largest = rows.with_columns(weight=weight).sort("size", "sid", descending=[True, False]).head(top)
    return [_in_units(row, facts, ["quantity"], ["mark"]) for row in largest.iter_rows(named=True)]


def orders(facts: Facts, top: int) -> list[Row]:
    """Orders with their costs; those that did not fill whole first, then the dearest."""
    columns = ["session", "client_order_id", "fill_price", "arrival_price", "shortfall", "decided_value"]
    rows = _named(facts.orders, facts).join(
        facts.costs.select(columns), on=["session", "client_order_id"], how="left", maintain_order="left"
    )
    money = pl.col("shortfall").cast(pl.Float64)
    plainly = pl.col("quantity") * pl.col("reference_price")
    rows = rows.with_columns(
        bps=money / pl.coalesce(pl.col("decided_value").cast(pl.Float64), plainly) * BPS,
        whole=pl.col("filled") == pl.col("quantity"),
        size=money.abs().fill_null(0.0),
    )
    dearest = rows.sort("whole", "size", "client_order_id", descending=[False, True, False]).head(top)
    prices = ["reference_price", "arrival_price", "fill_price"]
    return [_in_units(row, facts, ["quantity", "filled"], prices) for row in dearest.iter_rows(named=True)]


def filled_value() -> pl.Expr:
    """What a COSTS row filled, at the decision price, in the book's currency; float64."""
    each = pl.col("decided_value").cast(pl.Float64) / pl.col("quantity")
    return pl.col("filled") * pl.coalesce(each, pl.col("decision_price").cast(pl.Float64))


def costs(facts: Facts) -> Row:
    """The terms of the shortfall over the range, in currency and in bps of the value filled at decision prices."""
    terms = {c: float(facts.costs[c].sum()) for c in ("delay", "trading", "opportunity", "fees", "shortfall")}
    traded = float(facts.costs.select(filled_value()).to_series().sum())
    return {
        "terms": terms,
        "bps": {c: v / traded * BPS if traded else None for c, v in terms.items()},
        "traded": traded,
    }


def reasons(facts: Facts) -> list[Row]:
    """How many decisions carry each reason, with its sentence; what trades first."""
    counted = facts.decisions.group_by("verdict", "reason").agg(
        count=pl.len().cast(pl.Int64), sessions=pl.col("session").n_unique().cast(pl.Int64)
    )
    rows = counted.with_columns(trades=pl.col("verdict") == TRADE).sort(
        "trades", "count", "reason", descending=[True, True, False]
    )
    return [r | {"meaning": REASONS.get(r["reason"], "")} for r in rows.iter_rows(named=True)]


def order_states(facts: Facts) -> list[Row]:
    """How the orders of the range last stood: state, count."""
    last = facts.orders.sort("session").unique("client_order_id", keep="last", maintain_order=True)
    return (
        last.group_by("state")
        .agg(count=pl.len().cast(pl.Int64))
        .sort("count", "state", descending=[True, False])
        .rows(named=True)
    )


def quarantined(facts: Facts) -> list[Row]:
    """Rows not let in, by reason, with one example."""
    sample = pl.concat_str(
        pl.col("file"), pl.lit(":"), pl.col("line").cast(pl.String), pl.lit(" "), pl.col("symbol").fill_null("")
    )
    return (
        facts.quarantine.sort(QUARANTINE.key)
        .group_by("reason")
        .agg(count=pl.len().cast(pl.Int64), example=sample.first())
        .sort("count", "reason", descending=[True, False])
        .rows(named=True)
    )


def suspicious(facts: Facts) -> list[Row]:
    """Rows that are in and look wrong, by table and rule, with one example."""
    sample = pl.format(
        "{} {}: {}",
        pl.col("symbol").fill_null(pl.col("row")),
        pl.col("session"),
        pl.col("found").round_sig_figs(5).cast(pl.String).fill_null(""),
    )
    expected = pl.format(", not {}", pl.col("expected").round_sig_figs(5)).fill_null("")
    counted = (
        facts.findings.sort(DATA_FINDINGS.key)
        .group_by("table", "rule")
        .agg(count=pl.len().cast(pl.Int64), example=(sample + expected).first())
    )
    return counted.sort("count", "table", "rule", descending=[True, False, False]).rows(named=True)


def failed_rules(facts: Facts) -> list[Row]:
    """Quality rules that failed."""
    return facts.verdicts.filter(~pl.col("passed")).sort("session", "severity", "rule").rows(named=True)


def snapshots(facts: Facts) -> list[Row]:
    """What the decisions of `last` rest on: the distinct feature snapshots as key and value."""
    last = facts.decisions.filter(pl.col("session") == facts.last)
    texts = last["snapshot"].drop_nulls().unique().sort()
    return [msgspec.json.decode(t) for t in texts if t.startswith("{")]


def ids(facts: Facts) -> list[tuple[str, str]]:
    """The identities behind the decisions of the range: what to ask the store for."""
    columns = {
        "decision set": "decision_set_id",
        "model": "model_id",
        "features": "feature_set",
        "feature version": "feature_version",
        "strategy": "strategy_hash",
    }
    found = {
        label: [v for v in facts.decisions.sort("session")[c].unique(maintain_order=True) if v]
        for label, c in columns.items()
    }
    return [
        (label, ", ".join(values) if len(values) <= 3 else f"{len(values)}, the last {values[-1]}")
        for label, values in found.items()
        if values
    ]


def assumed(facts: Facts) -> bool:
    """Whether any of the data's knowledge times was stated by us instead of the source."""
    return bool(facts.captures["assumed"].any()) or any(s.get("assumed_known_at") for s in snapshots(facts))
