"""The laws of sources, datasets and checks."""

from collections.abc import Callable, Mapping
from datetime import UTC, date
from typing import Any

import polars as pl

from quant_assets.captured import ACTIONS, LISTINGS, MALFORMED, PRICES
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.datasets import STAMPED, Dataset, dataset
from quant_assets.market_data.observations import screen
from quant_assets.market_data.own_checks import examined
from quant_assets.market_data.rules import SEVERITIES, Rule, measured
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture
from quant_assets.testing.holding import must


def kept(capture: Capture) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a capture that are good, and those that are not; both with file and line."""
    if capture.dataset == "bars":
        return capture.prices, capture.malformed
    return screen(dataset(capture.dataset), capture)


def _captures(make: Callable[[], MarketDataSource]) -> list[Capture]:
    source = make()
    return [source.fetch(label) for label in source.labels()]


def labels_ascend(make: Callable[[], MarketDataSource], **_: object) -> None:
    """Labels are unique and ascending, there are two at least, and bounds are inclusive."""
    source = make()
    labels = list(source.labels())
    must(labels == sorted(set(labels)) and len(labels) > 1, labels[:5])
    must(list(source.labels(labels[1], labels[-1])) == labels[1:], "bounds are not inclusive")
    must(list(source.labels(last=labels[0])) == labels[:1], "the last bound is not inclusive")
    must(bool(source.name), "no name")


def fetched_twice(make: Callable[[], MarketDataSource], **_: object) -> None:
    """Two fetches of a label agree in rows, hash and knowledge time."""
    source = make()
    for label in source.labels():
        one, two = source.fetch(label), source.fetch(label)
        must((one.sha256, one.known_at, one.assumed) == (two.sha256, two.known_at, two.assumed), label)
        must(one.prices.equals(two.prices) and one.malformed.equals(two.malformed), label)
        must(one.others.keys() == two.others.keys(), label)
        must(all(one.others[name].equals(two.others[name]) for name in one.others), label)


def content_has_a_hash(make: Callable[[], MarketDataSource], **_: object) -> None:
    """Different captures have different content hashes."""
    hashes = [capture.sha256 for capture in _captures(make)]
    must(len(set(hashes)) == len(hashes), f"{len(hashes)} captures have {len(set(hashes))} hashes")


def declared_frames(make: Callable[[], MarketDataSource], **_: object) -> None:
    """A capture's frames have the columns and types of the port, its label and its source's name."""
    name = make().name
    for capture in _captures(make):
        must(dict(capture.prices.schema) == PRICES, dict(capture.prices.schema))
        must(dict(capture.malformed.schema) == MALFORMED, dict(capture.malformed.schema))
        must(capture.listings is None or dict(capture.listings.schema) == LISTINGS, "other columns of listings")
        must(
            capture.actions is None or dict(capture.actions.drop("withdrawn", strict=False).schema) == ACTIONS,
            "other columns of actions",
        )
        must(capture.source == name, capture.source)
        daily = capture.dataset == "bars"
        must(daily or (capture.prices.is_empty() and list(capture.others) == [capture.dataset]), capture.dataset)
        for other, rows in capture.others.items():
            lacking = {*dataset(other).columns, "file", "line"} - set(rows.columns)
            must(not lacking, f"{other} lacks {sorted(lacking)}")
    must([c.label for c in _captures(make)] == list(make().labels()), "other labels than asked for")


def known_after_it_happened(
    make: Callable[[], MarketDataSource], *, close: Callable[[date], Any] | None = None, **_: object
) -> None:
    """No capture is known before its session is over (`close`, the calendar's), and no row before its own event; times
    are UTC.
    """
    for capture in _captures(make):
        must(capture.known_at.tzinfo is UTC, capture.known_at.tzinfo)
        if capture.dataset == "bars":
            over = close(capture.label) if close else None
            must(over is None or capture.known_at > over, f"{capture.label} is known at {capture.known_at}")
        else:
            early = kept(capture)[1].filter(pl.col("reason") == "known before it happened")
            must(early.is_empty(), early.head(3).rows())


def every_row_once(
    make: Callable[[], MarketDataSource], *, rows: int | None = None, malformed: bool = False, **_: object
) -> None:
    """Good and malformed rows add up to the vendor's (`rows`, where it is given), each with its file and line, none
    twice; `malformed`: that some are, each with its reason.
    """
    parts = [(c.label, *kept(c)) for c in _captures(make)]
    found = sum(good.height + bad.height for _, good, bad in parts)
    must(rows is None or found == rows, f"{found} rows")
    where = pl.concat(
        f.select("file", "line").with_columns(capture=pl.lit(label)) for label, *both in parts for f in both
    )
    must(where.is_unique().all(), "a line is there twice")
    must(where.null_count().sum_horizontal().item() == 0 and (where["line"] >= 1).all(), "a row without file and line")
    bad = pl.concat(part.select("file", "line", "reason", "content") for _, _, part in parts)
    must(bad.height > 0 or not malformed, "no row is malformed")
    must(bad.null_count().sum_horizontal().item() == 0, "a malformed row has no reason")


def possible_prices(make: Callable[[], MarketDataSource], **_: object) -> None:
    """A good row has finite positive prices, the high not below the low, and no negative volume."""
    for capture in _captures(make):
        good = kept(capture)[0]
        prices = [c for c in ("open", "high", "low", "close", "price", "rate") if c in good.columns]
        fine = [((good[c] > 0) & good[c].is_finite()).fill_null(value=False).all() for c in prices]
        must(all(fine), f"{capture.label}: a price that is none")
        if "high" in good.columns:
            ranges = good.select((pl.col("high") >= pl.col("low")).all() & (pl.col("volume") >= 0).all()).item()
            must(ranges, f"{capture.label}: a high below the low, or a volume below zero")


def absent_is_unreadable(make: Callable[[], MarketDataSource], **_: object) -> None:
    """A label that does not exist is CaptureUnreadable, never an empty frame."""
    try:
        make().fetch(date(2001, 1, 2))
    except CaptureUnreadable:
        return
    must(holds=False, found="a capture of 2001-01-02")


def fingerprints_follow_content(
    make: Callable[[], MarketDataSource], *, change: Callable[[], date] | None = None, **_: object
) -> None:
    """The fingerprint of a label is that of its capture, the same when asked again, and another once the vendor changed
    its rows (`change` does that and gives the label).
    """
    source = make()
    labels = list(source.labels())
    one = dict(source.fingerprints(labels))
    must(one == dict(make().fingerprints(labels)), "another fingerprint when asked again")
    stated = {label: source.fetch(label).fingerprint for label in labels}
    must(all(stated[label] == mark for label, mark in one.items()), "not those of the captures")
    if change is not None:
        label = change()
        must(make().fingerprints([label]).get(label) != one.get(label), f"{label} changed, its fingerprint did not")


def table_keeps_the_laws(make: Callable[[], Dataset], **_: object) -> None:
    """Its table has a sentence on what a row is; its key and event are stored columns, and knowledge times are
    UTC.
    """
    table = make().table
    must(table.doc.endswith("."), table.doc)
    must(set(table.key) <= set(table.schema), f"the key has {sorted(set(table.key) - set(table.schema))}")
    must(table.event in table.schema and table.event in table.subject, f"the event {table.event} is not in the key")
    must(table.schema.get("known_at") == UTC_MICROS and "known_at" in table.key, "no knowledge time")
    must(set(STAMPED) <= set(table.schema), f"it lacks {sorted(set(STAMPED) - set(table.schema))}: use vendor_table")
    must("year" not in table.schema, "the column year is the store's")


def rows_have_a_key(make: Callable[[], Dataset], *, rows: pl.DataFrame | None = None, **_: object) -> None:
    """Sample `rows` have the vendor's columns, a key without nulls that separates them, and none is refused."""
    if rows is None:
        return
    declared = make()
    must(set(rows.columns) == set(declared.columns), f"{sorted(set(rows.columns) ^ set(declared.columns))} differ")
    typed = rows.select(pl.col(c).cast(declared.table.schema[c]) for c in declared.columns)
    subject = [c for c in declared.table.subject if c in declared.columns]
    nulls = [c for c in subject if typed[c].null_count()]
    must(not nulls, f"null in {nulls}, which belongs to the key")
    must(typed.select(subject).is_unique().all(), f"two rows of one {subject}")
    own = [r for r in declared.rules if r.severity == "refuse" and r.reads <= set(declared.columns)]
    refused = [r.name for r in own if measured(typed, [r]).to_series().cast(pl.Float64).sum() > 0]
    must(not refused, f"refused by {refused}")


def rules_can_be_read(make: Callable[[], Dataset], **_: object) -> None:
    """Its rules have names of their own, severities that there are, and read its columns (or x_before)."""
    declared = make()
    names = [r.name for r in declared.rules]
    must(len(set(names)) == len(names), names)
    known = {*declared.table.schema, *(f"{c}_before" for c in declared.table.schema)}
    for rule in declared.rules:
        must(rule.severity in SEVERITIES, rule.severity)
        must(rule.reads <= known, f"{rule.name} reads {sorted(rule.reads - known)}")


def bars_of_a_session() -> pl.DataFrame:
    """Rows as a check is given them: sound bars of forty names beside those of the session before."""
    n = 40
    base = pl.DataFrame({"sid": range(n), "symbol": [f"S{i}" for i in range(n)]}).with_columns(
        session=pl.lit(date(2024, 1, 3)),
        open=10.0 + pl.col("sid") / 10,
        volume=pl.lit(100, pl.Int64) + pl.col("sid"),
        volume_before=pl.lit(90, pl.Int64),
        split_ratio=pl.lit(None, pl.Float64),
        dividend=pl.lit(None, pl.Float64),
        gap_share=pl.lit(0.0),
        uncovered_share=pl.lit(0.0),
        quarantined_share=pl.lit(0.0),
        acted=pl.lit(value=False),
        captured=pl.lit(value=True),
        usual_rows=pl.lit(float(n)),
    )
    priced = base.with_columns(high=pl.col("open") + 1, low=pl.col("open") - 1, close=pl.col("open") + 0.5)
    return priced.with_columns((pl.col(c) * 0.99).alias(f"{c}_before") for c in ("open", "high", "low", "close"))


def rule_of_bars(make: Callable[[], Rule], **_: object) -> None:
    """Its rule has a name of its own, blocks or warns, asks a question, and reads columns that the bars have."""
    rule = make()
    examined(rule, "tried", set())
    must(rule.question.endswith("?"), rule.question)


def answer_of_rows(make: Callable[[], Rule], **_: object) -> None:
    """The answer comes from the rows alone: the same rows, in any order and whenever asked, have the same answer."""
    rows = bars_of_a_session()
    one, again, turned = (measured(frame, [make()]).to_series() for frame in (rows, rows, rows.reverse()))
    must(one.dtype == pl.Boolean or one.dtype.is_numeric(), one.dtype)
    must(one.equals(again), "another answer when asked again")
    must(one.equals(turned.reverse()) if one.len() == rows.height else one.equals(turned), "the order of rows counts")
    must(rows.equals(bars_of_a_session()), "the rows were changed")


LAWS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "source": {
        f.__name__: f
        for f in (
            labels_ascend,
            fetched_twice,
            content_has_a_hash,
            declared_frames,
            known_after_it_happened,
            every_row_once,
            possible_prices,
            absent_is_unreadable,
            fingerprints_follow_content,
        )
    },
    "dataset": {f.__name__: f for f in (table_keeps_the_laws, rows_have_a_key, rules_can_be_read)},
    "check": {f.__name__: f for f in (rule_of_bars, answer_of_rows)},
}
