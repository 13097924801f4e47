"""The contract of every stored table: columns, dtypes, key, event column, and what a row means.

A stored row has an event time (the column named by ``event``) and ``known_at`` (UTC). A table's
``key`` identifies a row for good; a restatement is another row whose key differs in ``known_at``.
``subject`` is the key without knowledge time: of the rows of one subject known at a cut, the one
with the latest ``known_at`` is in force, and a ``withdrawn`` one in force means that there is none.
Columns in ``beside`` are recorded with a row but do not make it another row (run ids, commits).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from quant_assets.errors import ContractViolation

UTC_MICROS = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(38, 6)  # wide enough that sums over a book never overflow

Schema = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True)
class Table:
    """One stored table. ``schema`` is in stored order and does not contain the partition column."""

    name: str
    doc: str
    schema: Schema
    key: tuple[str, ...]
    event: str = "session"
    beside: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def subject(self) -> tuple[str, ...]:
        """The key without knowledge time: what a row is about."""
        return tuple(c for c in self.key if c != "known_at")

    @property
    def content(self) -> tuple[str, ...]:
        """The columns whose values make a row what it is."""
        return tuple(c for c in self.schema if c not in self.beside)

    def empty(self) -> pl.DataFrame:
        """A frame of this table with no rows."""
        return pl.DataFrame(schema=dict(self.schema))

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` in stored column order, dtypes cast losslessly, sorted by key.

        Raises ContractViolation naming missing and unexpected columns, nulls in the key,
        or keys that occur twice.
        """
        missing = [c for c in self.schema if c not in frame.columns]
        unexpected = [c for c in frame.columns if c not in self.schema]
        if missing or unexpected:
            raise ContractViolation(f"{self.name}: missing columns {missing}, unexpected columns {unexpected}; the contract is {list(self.schema)}")
        try:
            out = frame.select(pl.col(c).cast(t, strict=True) for c, t in self.schema.items())
        except pl.exceptions.PolarsError as error:
            raise ContractViolation(f"{self.name}: {error}; the contract is {dict(self.schema)}, the frame has {dict(frame.schema)}") from error
        if any(out[c].null_count() for c in self.key):
            raise ContractViolation(f"{self.name}: null in key column(s) {[c for c in self.key if out[c].null_count()]}")
        if out.select(self.key).is_duplicated().any():
            twice = out.filter(out.select(self.key).is_duplicated()).select(self.key).unique().head(3).rows()
            raise ContractViolation(f"{self.name}: key {self.key} occurs more than once, for example {twice}")
        return out.sort(self.key)


def known_by(frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The rows of `frame` whose ``known_at`` is not after `as_of`."""
    return frame.filter(pl.col("known_at") <= as_of)


def in_force(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Of the rows given, the latest known of each subject, without the withdrawn, sorted by subject."""
    latest = frame.sort(*table.subject, "known_at").unique(table.subject, keep="last", maintain_order=True)
    return latest.filter(~pl.col("withdrawn")) if "withdrawn" in table.schema else latest


_KNOWN: Schema = {"known_at": UTC_MICROS}
_DECLARED: Schema = {"known_at": UTC_MICROS, "declared_known_at": UTC_MICROS}
_ORIGIN: Schema = {"source": pl.String, "capture": pl.Date, "file": pl.String, "line": pl.Int64}

CAPTURES = Table(
    "captures",
    "What arrived from a vendor, and when. `assumed` marks a knowledge time that was stated by us, not by the source.",
    {"capture": pl.Date, "source": pl.String, "location": pl.String, "sha256": pl.String, "rows": pl.Int64, "quarantined": pl.Int64, "assumed": pl.Boolean, **_DECLARED},
    key=("source", "capture", "sha256"),
    event="capture",
    beside=("location", "known_at"),
)

BARS = Table(
    "bars",
    "Raw daily bars as the vendor sent them, every version. `adj_close` is the vendor's, kept as evidence for derived actions.",
    {
        "session": pl.Date, "sid": pl.Int64, "symbol": pl.String, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64,
        "volume": pl.Int64, "adj_close": pl.Float64, "withdrawn": pl.Boolean, **_ORIGIN, **_DECLARED,
    },
    key=("sid", "session", "known_at"),
    units={"open": "currency per share, raw", "volume": "shares, raw"},
)  # fmt: skip

ACTIONS = Table(
    "actions",
    "Corporate actions by ex-session. split: `numerator` shares after for `denominator` before. dividend: `cash` per share held before the ex-session. "
    "delisting: the first session without trading; `value` is the return from the last close to the proceeds. symbol_change: nothing to book.",
    {
        "session": pl.Date, "sid": pl.Int64, "kind": pl.String, "numerator": pl.Int64, "denominator": pl.Int64, "cash": MONEY, "value": pl.Float64,
        "origin": pl.String, "confidence": pl.Float64, "withdrawn": pl.Boolean, **_ORIGIN, **_DECLARED,
    },
    key=("sid", "session", "kind", "known_at"),
)  # fmt: skip

LISTINGS = Table(
    "listings",
    "From `session` on, instrument `sid` is listed (or no longer) under `symbol`, with this name and sector.",
    {"session": pl.Date, "sid": pl.Int64, "symbol": pl.String, "name": pl.String, "sector": pl.String, "listed": pl.Boolean, "capture": pl.Date, **_KNOWN},
    key=("sid", "session", "known_at"),
)

UNIVERSE = Table(
    "universe",
    "Membership over the half-open interval [session, until), as known at `known_at`.",
    {"session": pl.Date, "until": pl.Date, "universe": pl.String, "sid": pl.Int64, "rank": pl.Int64, "dollar_volume": pl.Float64, **_KNOWN},
    key=("universe", "session", "sid"),
)

QUARANTINE = Table(
    "quarantine",
    "Rows that were not let in: where they stand in the vendor's file, why, and what they say.",
    {**_ORIGIN, "symbol": pl.String, "reason": pl.String, "content": pl.String, **_KNOWN},
    key=("source", "capture", "file", "line", "reason", "known_at"),
    event="capture",
)

VERDICTS = Table(
    "verdicts",
    "What a quality rule found on the rows of one session, identified by their content hash.",
    {
        "session": pl.Date, "table": pl.String, "content_hash": pl.String, "rule": pl.String, "severity": pl.String, "passed": pl.Boolean,
        "value": pl.Float64, "threshold": pl.Float64, "message": pl.String, **_KNOWN,
    },
    key=("table", "session", "content_hash", "rule"),
    beside=("known_at",),
)  # fmt: skip

ANCHORS = Table(
    "anchors",
    "Where the evaluation of a feature set's block starts, fixed when the block is first evaluated.",
    {"session": pl.Date, "feature_set": pl.String, "version": pl.String, "anchor": pl.Date, **_KNOWN},
    key=("feature_set", "version", "session"),
    beside=("known_at",),
)

LABELS = Table(
    "labels",
    "Forward return of `session` from open(t+1) to open(t+1+horizon), filed under the session in which it became known. `died`: the name left inside the window.",
    {"label_end": pl.Date, "session": pl.Date, "sid": pl.Int64, "horizon": pl.Int64, "value": pl.Float64, "died": pl.Boolean, **_KNOWN},
    key=("horizon", "session", "sid"),
    event="label_end",
    units={"value": "simple return"},
)

MODELS = Table(
    "models",
    "Every trained model: its LightGBM text, what it was trained on, how it did out of sample.",
    {
        "session": pl.Date, "strategy": pl.String, "model_id": pl.String, "text": pl.String, "feature_set": pl.String, "feature_version": pl.String,
        "rows": pl.Int64, "params": pl.String, "metrics": pl.String, "snapshot": pl.String, "registry_version": pl.String, **_KNOWN,
    },
    key=("strategy", "session", "model_id"),
    beside=("registry_version",),
)  # fmt: skip

PROMOTIONS = Table(
    "promotions",
    "Whether a model became champion, by which rule, on which numbers, from which session on (`session` is the first one it may score).",
    {"session": pl.Date, "strategy": pl.String, "model_id": pl.String, "cut": pl.Date, "promoted": pl.Boolean, "rule": pl.String, "detail": pl.String, "by": pl.String, **_KNOWN},
    key=("strategy", "session", "model_id"),
)

SCORES = Table(
    "scores",
    "The champion's score of each member.",
    {"session": pl.Date, "strategy": pl.String, "sid": pl.Int64, "score": pl.Float64, "model_id": pl.String, **_KNOWN},
    key=("strategy", "session", "sid", "model_id"),
)

DECISIONS = Table(
    "decisions",
    "One row per strategy, session and instrument: trade to a target weight, or NO_TRADE and why. A set shares one `decision_set_id`.",
    {
        "session": pl.Date, "strategy": pl.String, "sid": pl.Int64, "symbol": pl.String, "decision_set_id": pl.String, "decision_id": pl.String,
        "verdict": pl.String, "reason": pl.String, "detail": pl.String, "score": pl.Float64, "rank": pl.Int64, "target_weight": pl.Float64,
        "reference_price": pl.Float64, "as_of": UTC_MICROS, "valid_until": UTC_MICROS, "inputs_hash": pl.String, "model_id": pl.String,
        "feature_set": pl.String, "feature_version": pl.String, "strategy_hash": pl.String, "snapshot": pl.String, **_KNOWN,
        "table_versions": pl.String, "commit": pl.String, "lock_hash": pl.String, "run_id": pl.String, "recorded_at": UTC_MICROS,
    },
    key=("strategy", "session", "decision_set_id", "sid"),
    beside=("table_versions", "commit", "lock_hash", "run_id", "recorded_at"),
)  # fmt: skip

ORDERS = Table(
    "orders",
    "What a book asked its venue for, as it stood after the session named (research books: the simulated venue).",
    {
        "session": pl.Date, "book": pl.String, "strategy": pl.String, "decided": pl.Date, "sid": pl.Int64, "leg": pl.String, "decision_id": pl.String,
        "client_order_id": pl.String, "side": pl.Int64, "quantity": pl.Int64, "filled": pl.Int64, "state": pl.String, "reference_price": pl.Float64, **_KNOWN,
    },
    key=("book", "session", "client_order_id"),
    units={"side": "+1 buy, -1 sell", "quantity": "shares"},
)  # fmt: skip

FILLS = Table(
    "fills",
    "The venue's own record of executions (drop copy).",
    {
        "session": pl.Date, "book": pl.String, "sid": pl.Int64, "exec_id": pl.String, "client_order_id": pl.String, "side": pl.Int64, "quantity": pl.Int64,
        "price": MONEY, "fee": MONEY, "arrival_price": MONEY, "ts": UTC_MICROS, **_KNOWN,
    },
    key=("book", "exec_id"),
)  # fmt: skip

POSITIONS = Table(
    "positions",
    "Holdings of a book after the session's actions and fills, marked at its last known close.",
    {"session": pl.Date, "book": pl.String, "sid": pl.Int64, "quantity": pl.Int64, "mark": MONEY, "value": MONEY, **_KNOWN},
    key=("book", "session", "sid"),
)

JOURNAL = Table(
    "journal",
    "Every movement of cash: trade, fee, dividend, delisting, cash_in_lieu, deposit. The sum up to a session is the book's cash.",
    {"session": pl.Date, "book": pl.String, "sid": pl.Int64, "kind": pl.String, "reference": pl.String, "amount": MONEY, **_KNOWN},
    key=("book", "session", "kind", "sid", "reference"),
)

PNL = Table(
    "pnl",
    "P&L of a book by name: holding (carried from yesterday's mark), trading (from fill to close), income (dividends and proceeds), fees (negative). They add up to the change in equity.",
    {"session": pl.Date, "book": pl.String, "sid": pl.Int64, "holding": MONEY, "trading": MONEY, "income": MONEY, "fees": MONEY, "total": MONEY, **_KNOWN},
    key=("book", "session", "sid"),
)

NAV = Table(
    "nav",
    "One row per book and session: equity = cash + sum of marked positions; pnl = change of equity.",
    {"session": pl.Date, "book": pl.String, "cash": MONEY, "long_value": MONEY, "short_value": MONEY, "equity": MONEY, "pnl": MONEY, "fees": MONEY, "traded": MONEY, "names": pl.Int64, **_KNOWN},
    key=("book", "session"),
)

COSTS = Table(
    "costs",
    "Implementation shortfall of each order's fills of a session against decision and arrival price (Perold 1988); the terms add up to `shortfall`.",
    {
        "session": pl.Date, "book": pl.String, "sid": pl.Int64, "client_order_id": pl.String, "side": pl.Int64, "quantity": pl.Int64, "filled": pl.Int64,
        "decision_price": MONEY, "arrival_price": MONEY, "fill_price": MONEY, "delay": MONEY, "trading": MONEY, "opportunity": MONEY, "fees": MONEY, "shortfall": MONEY, **_KNOWN,
    },
    key=("book", "session", "client_order_id"),
)  # fmt: skip

CORE = (
    CAPTURES, BARS, ACTIONS, LISTINGS, UNIVERSE, QUARANTINE, VERDICTS, ANCHORS, LABELS, MODELS, PROMOTIONS, SCORES, DECISIONS,
    ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS,
)  # fmt: skip


def feature_table(feature_set: str, features: tuple[str, ...]) -> Table:
    """The table in which a feature set is published: one row per (session, sid), frozen at its cut."""
    return Table(
        f"features_{feature_set}",
        f"Published values of the feature set {feature_set}.",
        {"session": pl.Date, "sid": pl.Int64, "version": pl.String, **dict.fromkeys(features, pl.Float64), **_KNOWN},
        key=("version", "session", "sid"),
    )
