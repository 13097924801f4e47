"""What a person does to data: release or drop a quarantined row, or repair a wrong row.

Nothing is edited: each act is a later row, and recorded.

A repaired row has the source `repair`. Ingest compares a vendor's rows with the vendor's earlier rows, so a vendor that
repeats its error changes nothing, and one that corrects it overrules the repair.
"""

import csv
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.contract import Table, in_force
from quant_assets.errors import ContractViolation, DataError
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.ingest import known_at
from quant_assets.market_data.screening import CONTENT
from quant_assets.ports import Audit, KnowledgeLog, Store
from quant_assets.records import Act, content_id
from quant_assets.tables import BARS, QUARANTINE

REPAIR = "repair"
NEAR = timedelta(days=45)  # around a row, where its symbol must have meant an instrument
REASONS = {
    "CONFLICT": (
        "Rows of the delivery contradict each other about one name and session; nothing shows which is right. "
        "Release the right row, drop the others."
    ),
    "NOT_A_SESSION": "The venue did not trade on that day. Drop it, unless the calendar is wrong.",
    "AFTER_LABEL": "The row is about a day after the delivery's label.",
    "BAD_PRICE": "A price is missing, not finite or not positive.",
    "OHLC": "The high is not the highest price, or the low not the lowest.",
    "BAD_VOLUME": "The volume is missing or negative.",
    "NO_SYMBOL": "The row has no symbol.",
    "UNEXPLAINED_FACTOR": (
        "Raw and adjusted close moved apart in a way that no split or dividend explains. It is evidence, not a "
        "row: drop it once the reason is known."
    ),
    "UNKNOWN_SYMBOL": "The vendor declares an action for a symbol that no instrument has.",
}


def listed(quarantine: pl.DataFrame, *, states: tuple[str, ...] = ("held",)) -> pl.DataFrame:
    """The rows in force with one of these states, newest capture first, each with the `id` under which a person acts on
    it.
    """
    rows = (
        in_force(quarantine, QUARANTINE)
        .filter(pl.col("state").is_in(states))
        .sort(["capture", "file", "line"], descending=[True, False, False])
    )
    ids = [content_id(*map(str, key), length=12) for key in rows.select(QUARANTINE.subject).iter_rows()]
    return rows.with_columns(pl.Series("id", ids, dtype=pl.String)).select("id", pl.exclude("id"))


def find(store: Store, row_id: str) -> Mapping[str, object]:
    """The quarantined row of that id, in its latest state. Raises DataError where there is none."""
    rows = listed(store.read(QUARANTINE, as_of=None), states=("held", "released", "dropped")).filter(
        pl.col("id").str.starts_with(row_id)
    )
    if rows.height != 1:
        raise DataError(
            f"{rows.height or 'no'} quarantined row(s) have an id that starts with {row_id!r}; `quant "
            f"quarantine list` shows them"
        )
    return rows.row(0, named=True)


def explained(row: Mapping[str, object], store: Store) -> tuple[str, pl.DataFrame]:
    """Why a row is held, as a sentence; and the rows near it: rows in force of its name, and other quarantined rows
    with the same name and delivery.
    """
    reason = str(row["reason"])
    quarantine = listed(store.read(QUARANTINE, as_of=None), states=("held", "released", "dropped"))
    others = quarantine.filter(
        pl.col("symbol") == row["symbol"], pl.col("capture") == row["capture"], pl.col("id") != row["id"]
    )
    return REASONS.get(reason, f"The vendor's row breaks the contract of {row['dataset']}: {reason}."), others.select(
        "id", "file", "line", "reason", "content", "state"
    )


def release(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    row_id: str,
    *,
    act: Act,
    now: datetime,
) -> str:
    """Release a quarantined row: it is stored, known from now on. Returns what was written.

    Raises DataError if the row is not held, ContractViolation if its content is not a valid row of its table.
    """
    row = _held(store, row_id)
    moment = known_at(now, knowledge.latest_cut(), now, None)
    table = BARS if row["dataset"] == BARS.name else dataset(str(row["dataset"])).table
    written = _bar(store, row, moment) if table is BARS else _observation(table, row, moment)
    audit.record("release quarantined row", str(row["id"]), by=act.by, reason=act.reason, now=act.at)
    store.append(table, written)
    _close(store, row, "released", act.by, act.reason, moment)
    return f"{table.name}: " + ", ".join(
        f"{k} {v}" for k, v in written.row(0, named=True).items() if k in (*table.subject, "close", "value", "rate")
    )


def drop(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    row_id: str,
    *,
    act: Act,
    now: datetime,
) -> None:
    """Drop a held row: it stays out for good. Raises DataError if it is not held."""
    row = _held(store, row_id)
    audit.record("drop quarantined row", str(row["id"]), by=act.by, reason=act.reason, now=act.at)
    _close(store, row, "dropped", act.by, act.reason, known_at(now, knowledge.latest_cut(), now, None))


def repair(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    symbol: str,
    session: date,
    values: Mapping[str, float | int],
    *,
    act: Act,
    now: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put a bar right: the row in force and the one that takes its place from now on. No values withdraw it.

    Raises DataError where no bar is in force or nothing would change, ContractViolation where the new row is no
    possible bar.
    """
    standing = in_force(store.read(BARS, as_of=None, first=session, last=session), BARS).filter(
        pl.col("symbol") == symbol
    )
    if standing.height != 1:
        raise DataError(
            f"{symbol!r} has no bar in force for {session}; `quant sql` shows what there is, and a missing "
            f"row comes with a later capture"
        )
    if unknown := set(values) - {"open", "high", "low", "close", "volume"}:
        raise DataError(f"a bar has open, high, low, close and volume; {sorted(unknown)} cannot be set")
    new = standing.with_columns(pl.lit(v).cast(BARS.schema[c]).alias(c) for c, v in values.items())
    if values and new.equals(standing):
        raise DataError(f"the bar of {symbol!r} for {session} already has these values; nothing to repair")
    _possible(new, f"{symbol} {session}")
    audit.record("repair bar", f"{symbol} {session}", by=act.by, reason=act.reason, now=act.at)
    return standing, _put(store, knowledge, new, by=act.by, now=now, withdrawn=not values)


def mend(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    rows: pl.DataFrame,
    *,
    act: Act,
    now: datetime,
) -> int:
    """Store the repairs that an examination proposes (rows of BARS as they should be); how many.

    Raises ContractViolation if one is no possible bar.
    """
    _possible(rows, f"{rows.height} proposed repairs")
    if rows.is_empty():
        return 0
    audit.record(
        "repair bars",
        f"{rows.height} rows of {rows['sid'].n_unique()} names, {rows['session'].min()} to {rows['session'].max()}",
        by=act.by,
        reason=act.reason,
        now=act.at,
    )
    return _put(store, knowledge, rows, by=act.by, now=now, withdrawn=False).height


def _put(
    store: Store, knowledge: KnowledgeLog, rows: pl.DataFrame, *, by: str, now: datetime, withdrawn: bool
) -> pl.DataFrame:
    """Store the rows as repairs, known from now on."""
    origin = {
        "source": REPAIR,
        "capture": now.date(),
        "file": f"by {by}",
        "line": None,
        "adj_close": None,
        "withdrawn": withdrawn,
        "declared_known_at": now,
    }
    stamped = rows.with_columns(pl.lit(v).cast(BARS.schema[c]).alias(c) for c, v in origin.items()).with_columns(
        known_at=pl.lit(known_at(now, knowledge.latest_cut(), now, None))
    )
    store.append(BARS, stamped.select(*BARS.schema))
    return stamped


def _held(store: Store, row_id: str) -> Mapping[str, object]:
    row = find(store, row_id)
    if row["state"] != "held":
        raise DataError(f"row {row['id']} was {row['state']} by {row['by']} already: {row['note']}")
    return row


def _close(store: Store, row: Mapping[str, object], state: str, by: str, note: str, moment: datetime) -> None:
    later = {**{c: row[c] for c in QUARANTINE.schema}, "state": state, "by": by, "note": note, "known_at": moment}
    store.append(QUARANTINE, pl.DataFrame([later], schema=dict(QUARANTINE.schema)))


def _parsed(table: Table, row: Mapping[str, object], columns: tuple[str, ...]) -> pl.DataFrame:
    """The row's content, typed by the contract."""
    (cells,) = csv.reader([str(row["content"])])
    if len(cells) != len(columns):
        raise ContractViolation(
            f"row {row['id']} has {row['content']!r}, which is no row of {table.name} "
            f"({', '.join(columns)}); drop it, and repair the row that it was meant to be"
        )
    text = pl.DataFrame(
        {c: [v.strip() or None] for c, v in zip(columns, cells, strict=True)}, schema=dict.fromkeys(columns, pl.String)
    )
    try:
        return text.select(
            pl.col(c).str.to_date()
            if table.schema[c] == pl.Date
            else pl.col(c).str.to_datetime(time_zone="UTC")
            if c == "ts"
            else pl.col(c).cast(table.schema[c])
            for c in columns
        )
    except pl.exceptions.PolarsError as error:
        raise ContractViolation(
            f"row {row['id']} has {row['content']!r}: {error}; drop it, and repair the row that it was meant to be"
        ) from error


def _origin(row: Mapping[str, object], moment: datetime) -> dict[str, pl.Expr]:
    return {c: pl.lit(row[c]) for c in ("source", "capture", "file", "line")} | {
        "withdrawn": pl.lit(value=False),
        "known_at": pl.lit(moment),
        "declared_known_at": pl.lit(row["known_at"]),
    }


def _bar(store: Store, row: Mapping[str, object], moment: datetime) -> pl.DataFrame:
    said = _parsed(BARS, row, CONTENT)
    _possible(said, f"row {row['id']}")
    session: date = said["session"].item()
    near = in_force(store.read(BARS, as_of=None, first=session - NEAR, last=session + NEAR), BARS).filter(
        pl.col("symbol") == said["symbol"].item()
    )
    if near.is_empty():
        raise DataError(
            f"{said['symbol'].item()!r} means no instrument around {session}; it gets one when a delivery "
            f"has a good row of it"
        )
    says = [c for c in CONTENT if c != "adj_close"]
    if there := near.join(said, on=says, how="semi")["known_at"].to_list():
        raise DataError(
            f"the bars have these values already, since {there[0]:%Y-%m-%d %H:%M} UTC: from a later delivery. "
            f"Drop row {row['id']}."
        )
    closest = near.with_columns(away=(pl.col("session") - session).abs()).sort("away", "session")["sid"].item(0)
    return said.with_columns(**_origin(row, moment), sid=pl.lit(closest)).select(
        pl.col(c).cast(t) for c, t in BARS.schema.items()
    )


def _observation(table: Table, row: Mapping[str, object], moment: datetime) -> pl.DataFrame:
    said = _parsed(table, row, dataset(table.name).columns)
    return table.conform(said.with_columns(**_origin(row, moment)).select(*table.schema))


def _possible(bars: pl.DataFrame, which: str) -> None:
    prices = ("open", "high", "low", "close")
    whole = pl.sum_horizontal(pl.col(c).is_null().cast(pl.Int8) for c in (*prices, "volume")) == 0
    sound = (
        (pl.min_horizontal(prices) > 0)
        & (pl.col("high") == pl.max_horizontal(prices))
        & (pl.col("low") == pl.min_horizontal(prices))
        & (pl.col("volume") >= 0)
    )
    wrong = bars.filter(~(whole & sound))
    if wrong.height:
        raise ContractViolation(
            f"{which}: {wrong.select(*prices, 'volume').row(0, named=True)} is no possible bar (positive "
            f"prices, high the highest, low the lowest, volume not negative)"
        )
