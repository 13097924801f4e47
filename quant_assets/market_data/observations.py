"""The rows that a delivery has of a dataset become new versions, quarantined rows, findings and verdicts.

A row equal to the version known before it is a repetition. Rows in force come from the store and from deliveries that
wait to be committed, so deliveries one by one and many in one call leave the same rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import calendar
from quant_assets.contract import UTC_MICROS, Table, in_force
from quant_assets.errors import CalendarUnknown, ContractViolation
from quant_assets.market_data.datasets import Dataset
from quant_assets.market_data.differences import Following, otherwise, said_before, stood, vanished
from quant_assets.market_data.rules import findings, verdicts
from quant_assets.ports import Store
from quant_assets.records import Capture, frame_hash
from quant_assets.tables import DATA_FINDINGS, QUARANTINE, VERDICTS

OPTIONAL = (
    "content",
    "fault",
    "known_at",
    "withdrawn",
)  # what a capture's rows may have beside the dataset's columns, file and line
Stamp = Callable[[pl.Expr], pl.Expr]  # from the declared to the effective knowledge time


@dataclass(frozen=True)
class Taken:
    """The new rows of one delivery by table, and how many of its rows only repeat the version in force."""

    frames: Mapping[str, pl.DataFrame]
    repeated: int


class Observations:
    """The stored rows of datasets, with those ingested but not committed yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._spans: dict[tuple[str, str], pl.DataFrame] = {}  # by dataset and source, of each label

    def take(self, dataset: Dataset, capture: Capture, stamp: Stamp) -> Taken:
        """What the rows of `dataset` in a capture add.

        Raises ContractViolation where the vendor's columns are not the contract's.
        """
        clean, refused = screen(dataset, capture)
        origin = {"source": capture.source, "capture": capture.label}
        stamped = clean.with_columns(
            **{k: pl.lit(v) for k, v in origin.items()}, known_at=stamp(pl.col("declared_known_at"))
        )
        standing = self._standing(dataset.table, stamped, timedelta(0))
        moment = pl.select(stamp(pl.lit(capture.known_at, UTC_MICROS))).item()
        if capture.assumed:
            stamped = corrected_late(dataset, stamped, standing, moment)
        news = versions(dataset, stamped, standing)
        taken = self._taken(dataset, capture, news, refused, moment)
        self.learn(taken)
        return taken

    def again(self, dataset: Dataset, capture: Capture, moment: datetime, following: Following) -> Taken:
        """The differences of a label that was ingested before, known at `moment`; `learn` them once the delivery
        counts.

        Raises as `take`, and CaptureUnreadable if more of its rows are missing than a vendor withdraws.
        """
        table, label = dataset.table, capture.label
        clean, refused = screen(dataset, capture)
        origin = {"source": capture.source, "capture": label}
        rows = clean.with_columns(**{k: pl.lit(v) for k, v in origin.items()}, known_at=pl.lit(moment, UTC_MICROS))
        rows = rows.select(table.schema.keys()).sort("declared_known_at", maintain_order=True)
        rows = rows.unique(
            table.subject, keep="last", maintain_order=True
        )  # what was known in between was known in between
        events = pl.concat([rows.select(table.event), *self._events_of(table, capture)])
        versions = self._standing(table, events, timedelta(0)).filter(source=capture.source)
        then = stood(versions, label, table.subject)
        own = versions.filter(capture=label).sort("known_at")
        own = own.unique([*table.subject, "declared_known_at"], keep="last").select(
            *table.subject, "declared_known_at", *dataset.says
        )
        news = otherwise(rows, then, table.subject, [c for c in dataset.says if c != "withdrawn"]).select(rows.columns)
        news = news.join(own, on=own.columns, how="anti", nulls_equal=True)
        gone = vanished(capture, rows, refused, then, table.subject)
        gone = self._said_by_none(dataset, gone, following) if gone.height else gone
        back = said_before(gone, versions, label, table.subject)
        stamps = {
            "capture": pl.lit(label),
            "known_at": pl.lit(moment, UTC_MICROS),
            "declared_known_at": pl.lit(capture.known_at, UTC_MICROS),
        }
        taken_back = gone.join(back, on=table.subject, how="anti").with_columns(
            withdrawn=pl.lit(value=True), line=pl.lit(None, pl.Int64)
        )
        news = pl.concat([news, *(f.select(table.schema.keys()).with_columns(**stamps) for f in (back, taken_back))])
        return self._taken(dataset, capture, news, refused, moment)

    def _events_of(self, table: Table, capture: Capture) -> Sequence[pl.DataFrame]:
        """Between which events the rows lie that the deliveries of a label brought; read once for all labels."""
        if (table.name, capture.source) not in self._spans:
            said = self._store.read(table, as_of=None, where={"source": capture.source}, columns=("capture",))
            ends = said.group_by("capture").agg(first=pl.col(table.event).min(), last=pl.col(table.event).max())
            self._spans[table.name, capture.source] = ends
        ends = self._spans[table.name, capture.source].filter(capture=capture.label)
        return [ends.select(pl.col(c).alias(table.event)) for c in ("first", "last")]

    def _said_by_none(self, dataset: Dataset, gone: pl.DataFrame, following: Following) -> pl.DataFrame:
        subject = dataset.table.subject
        for later in following:
            said = (
                gone.join(screen(dataset, later)[0], on=subject, how="semi")
                if dataset.name in later.others
                else gone.clear()
            )
            gone = gone.join(said, on=subject, how="anti")
            if said.is_empty() or gone.is_empty():
                break
        return gone

    def learn(self, taken: Taken) -> None:
        """What was taken waits to be committed."""
        for name, frame in taken.frames.items():
            self._waiting.setdefault(name, []).append(frame)

    def _taken(
        self, dataset: Dataset, capture: Capture, news: pl.DataFrame, refused: pl.DataFrame, moment: datetime
    ) -> Taken:
        rules = dataset.judging
        rows = self.with_before(dataset, news)
        held = {
            "source": capture.source,
            "capture": capture.label,
            "dataset": dataset.name,
            "state": "held",
            "by": None,
            "note": None,
            "known_at": moment,
        }
        refused = _conforming(QUARANTINE, refused.with_columns(**{k: pl.lit(v) for k, v in held.items()}))
        found = pl.concat([findings(dataset.table, rows, rules, pl.col("known_at")), turned_away(refused)])
        frames = {
            QUARANTINE.name: refused,
            DATA_FINDINGS.name: found,
            dataset.name: news,
            VERDICTS.name: verdicts(
                dataset.table, rows, rules, session=capture.label, content_hash=frame_hash(news), known_at=moment
            )
            if news.height
            else VERDICTS.empty(),
        }
        return Taken(frames, capture.others[dataset.name].height - refused.height - news.height)

    def committed(self) -> None:
        """All that was learnt is stored."""
        self._waiting.clear()

    def _standing(self, table: Table, rows: pl.DataFrame, back: timedelta) -> pl.DataFrame:
        if rows.is_empty():
            return table.empty()
        first, last = (_day(rows[table.event].min()), _day(rows[table.event].max()))
        return pl.concat(
            [self._store.read(table, as_of=None, first=first - back, last=last), *self._waiting.get(table.name, ())]
        )

    def with_before(self, dataset: Dataset, news: pl.DataFrame) -> pl.DataFrame:
        """`news` with the entity's event before and each of its values, as known with them, where a rule looks at
        it.
        """
        if not any(c.endswith("_before") for r in dataset.judging for c in r.reads):
            return news
        table = dataset.table
        values = [table.event, *(c for c in dataset.says if c != "withdrawn")]
        standing = self._standing(table, news, dataset.remembers).join(
            news.select(dataset.entity), on=dataset.entity, how="semi"
        )
        known = (
            pl.concat([standing, news])
            .sort(*table.subject, "known_at")
            .unique(table.subject, keep="last", maintain_order=True)
        )
        before = known.sort(*dataset.entity, table.event).with_columns(
            pl.when(_same(dataset.entity)).then(pl.col(c).shift(1)).alias(f"{c}_before") for c in values
        )
        return news.join(
            before.select(*table.subject, *(f"{c}_before" for c in values)),
            on=table.subject,
            how="left",
            maintain_order="left",
        )


def turned_away(quarantine: pl.DataFrame) -> pl.DataFrame:
    """Quarantined rows as findings (rows of DATA_FINDINGS): the rule is the reason, the row is its place in the
    vendor's file.
    """
    shown = quarantine.select(
        session="capture",
        table="dataset",
        rule="reason",
        severity=pl.lit("refuse"),
        symbol="symbol",
        row=pl.struct("file", "line").struct.json_encode(),
        found=pl.lit(None),
        expected=pl.lit(None),
        message="content",
        known_at="known_at",
    )
    return _conforming(DATA_FINDINGS, shown.unique(["session", "rule", "row"], keep="first", maintain_order=True))


def remarked(capture: Capture, moment: datetime) -> pl.DataFrame:
    """Warnings about rows that a delivery's source accepted (rows of DATA_FINDINGS)."""
    if capture.remarks is None:
        return DATA_FINDINGS.empty()
    shown = capture.remarks.select(
        "rule",
        "symbol",
        "message",
        session=pl.lit(capture.label),
        table=pl.lit(capture.dataset),
        severity=pl.lit("warn"),
        row=pl.struct("file", "line").struct.json_encode(),
        found=pl.lit(None),
        expected=pl.lit(None),
        known_at=pl.lit(moment),
    )
    return _conforming(DATA_FINDINGS, shown)


def judged(dataset: Dataset, store: Store, day: date) -> pl.DataFrame:
    """The rows in force of a day, with the values before them: what the dataset's rules look at."""
    rows = in_force(store.read(dataset.table, as_of=None, first=day, last=day), dataset.table)
    return Observations(store).with_before(dataset, rows)


def screen(dataset: Dataset, capture: Capture) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean rows (the dataset's columns, withdrawn, file, line, declared_known_at) and refused ones (file, line,
    symbol, reason, content).

    Text is read as the contract's types. Identical rows collapse to the first. Rows that contradict each other about
    one subject at one time are all refused, because nothing shows which is right. A row whose `fault` is given is
    refused for that.
    """
    rows = capture.others[dataset.name]
    missing = [c for c in (*dataset.columns, "file", "line") if c not in rows.columns]
    unexpected = [c for c in rows.columns if c not in (*dataset.columns, "file", "line", *OPTIONAL)]
    if missing or unexpected:
        raise ContractViolation(
            f"{capture.source}, capture {capture.label}: the vendor's columns are {rows.columns}, the "
            f"contract of {dataset.name} is {list(dataset.columns)}; "
            f"missing {missing}, unexpected {unexpected}. Correct the feed's mapping, or the contract in "
            f"quant_assets/tables.py"
        )
    table = dataset.table
    text = pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in dataset.columns], separator=",")
    known = pl.col("known_at").cast(UTC_MICROS) if "known_at" in rows.columns else pl.lit(capture.known_at, UTC_MICROS)
    prepared = rows.select(
        *(pl.col(c).alias(f"given {c}") for c in dataset.columns),
        *(typed(c, rows.schema[c], table.schema[c]) for c in dataset.columns),
        withdrawn=pl.col("withdrawn").cast(pl.Boolean) if "withdrawn" in rows.columns else pl.lit(value=False),
        content=pl.coalesce(pl.col("content"), text) if "content" in rows.columns else text,
        fault=pl.col("fault") if "fault" in rows.columns else pl.lit(None, pl.String),
        file="file",
        line=pl.col("line").cast(pl.Int64),
        declared_known_at=known,
    )
    faults = [*_faults(dataset, prepared), *((r.name, r.measure) for r in dataset.rules if r.severity == "refuse")]
    reason = pl.coalesce("fault", *(pl.when(fault.fill_null(value=False)).then(pl.lit(name)) for name, fault in faults))
    judged = prepared.with_columns(reason=reason)
    good = judged.filter(pl.col("reason").is_null())
    good = good.unique([*dataset.columns, "withdrawn", "declared_known_at"], keep="first", maintain_order=True)
    twice = good.select(*table.subject, "declared_known_at").is_duplicated()
    refused = pl.concat(
        [judged.filter(pl.col("reason").is_not_null()), good.filter(twice).with_columns(reason=pl.lit("CONFLICT"))]
    )
    refused = refused.unique(
        ["file", "line", "reason", "content"], keep="first", maintain_order=True
    )  # a line may make several rows
    symbol = pl.col("given symbol").cast(pl.String) if "symbol" in dataset.columns else pl.lit(None, pl.String)
    return good.filter(~twice).select(
        *dataset.columns, "withdrawn", "file", "line", "declared_known_at"
    ), refused.select("file", "line", "reason", "content", symbol=symbol)


def corrected_late(dataset: Dataset, rows: pl.DataFrame, standing: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """`rows` of a delivery whose times are assumed: those that differ from the version in force are known with the
    whole delivery, at `moment`.

    The assumed time is that of a first version, not of its correction.
    """
    subject = dataset.table.subject
    latest = standing.sort(*subject, "known_at").unique(subject, keep="last")
    before = latest.select(*subject, *(pl.col(c).alias(f"was_{c}") for c in dataset.says))
    both = rows.join(before, on=subject, how="left", maintain_order="left")
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"was_{c}")) for c in dataset.says)
    late = pl.col("was_withdrawn").is_not_null() & differs & (pl.col("known_at") < moment)
    return both.with_columns(known_at=pl.when(late).then(pl.lit(moment, UTC_MICROS)).otherwise("known_at")).select(
        rows.columns
    )


def versions(dataset: Dataset, rows: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """Rows of the dataset's table that differ from the version known before them.

    A withdrawal of a row that does not exist is a no-op.
    """
    table = dataset.table
    given = rows.select(table.schema.keys())
    standing = standing.join(given.select(table.subject), on=table.subject, how="semi")
    there = standing.select(*table.subject, "known_at", *(pl.col(c).alias(f"{c} there") for c in dataset.says))
    said_otherwise = pl.col("withdrawn there").is_not_null() & pl.any_horizontal(
        pl.col(c).ne_missing(pl.col(f"{c} there")) for c in dataset.says
    )
    while (
        clash := given.join(there, on=[*table.subject, "known_at"], how="left", maintain_order="left")
        .select(said_otherwise)
        .to_series()
    ).any():
        given = given.with_columns(
            known_at=pl.col("known_at") + pl.duration(microseconds=pl.lit(clash.cast(pl.Int64)))
        )  # two versions of one moment: in the order of their captures
    tied = pl.int_range(pl.len()).over(
        *table.subject, "known_at"
    )  # what arrives behind one cut is all known at once: in the order declared
    given = given.sort(*table.subject, "declared_known_at").with_columns(
        known_at=pl.col("known_at") + pl.duration(microseconds=tied)
    )
    both = pl.concat(
        [
            standing.select(given.columns).with_columns(new=pl.lit(value=False)),
            given.with_columns(new=pl.lit(value=True)),
        ]
    )
    both = both.sort(*table.subject, "known_at", "new", nulls_last=True)
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(1)) for c in dataset.says)
    return both.filter(
        pl.col("new") & pl.when(_same(table.subject)).then(differs).otherwise(~pl.col("withdrawn"))
    ).drop("new")


def _same(columns: tuple[str, ...]) -> pl.Expr:
    """Whether the row above is about the same, in rows sorted by it: far cheaper than a window."""
    return pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in columns).fill_null(value=False)


def typed(column: str, given: pl.DataType, wanted: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """The column as the contract has it; null where it cannot be read so.

    Text is read as ISO 8601 and plain numbers.
    """
    text = pl.col(column).cast(pl.String).str.strip_chars()
    match given == pl.String, wanted:
        case True, pl.Date:
            return text.str.to_date("%Y-%m-%d", strict=False).alias(column)
        case True, pl.Datetime():
            return text.str.to_datetime(strict=False, time_unit="us", time_zone="UTC").alias(column)
        case True, pl.Boolean:
            return (
                text.str.to_lowercase()
                .replace_strict(
                    {"true": True, "1": True, "false": False, "0": False}, default=None, return_dtype=pl.Boolean
                )
                .alias(column)
            )
        case True, pl.String:
            return pl.when(text != "").then(text).alias(column)
        case _:
            return pl.col(column).cast(wanted, strict=False).alias(column)


def _faults(dataset: Dataset, rows: pl.DataFrame) -> list[tuple[str, pl.Expr]]:
    table, kind = dataset.table, dataset.table.schema
    out: list[tuple[str, pl.Expr]] = []
    for column in dataset.columns:
        given = pl.col(f"given {column}").is_not_null() & (
            pl.col(f"given {column}").cast(pl.String).str.strip_chars() != ""
        )
        out.append((f"{column} is no {_word(kind[column])}", given & pl.col(column).is_null()))
        if kind[column] == pl.Float64:
            out.append((f"{column} is not finite", ~pl.col(column).is_finite()))
        if column in table.subject:
            out.append((f"no {column}", pl.col(column).is_null()))
    over = dataset.ends if dataset.ends is not None else pl.col(table.event).cast(UTC_MICROS)
    out.append(("known before it happened", over > pl.col("declared_known_at") + dataset.ahead))
    out.append(("no known_at", pl.col("declared_known_at").is_null()))
    if dataset.sessions is not None:
        venue = dataset.sessions
        trades = [d for d in rows[table.event].cast(pl.Date).unique().drop_nulls().to_list() if _trades(venue, d)]
        out.append(("NOT_A_SESSION", ~pl.col(table.event).cast(pl.Date).is_in(trades)))
    return out


def _trades(venue: str, day: date) -> bool:
    try:
        return calendar(venue).is_session(day)
    except CalendarUnknown:
        return False


def _word(dtype: pl.DataType | type[pl.DataType]) -> str:
    match dtype:
        case pl.Date:
            return "date YYYY-MM-DD"
        case pl.Datetime():
            return "time, UTC"
        case pl.Boolean:
            return "truth value"
        case _:
            return "number"


def _day(value: object) -> date:
    return pl.Series([value]).cast(pl.Date).item()


def _conforming(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(c).cast(t) for c, t in table.schema.items())
