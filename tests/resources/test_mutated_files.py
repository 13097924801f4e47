"""No input file ends in a traceback: whatever befell a file, rows that were not touched arrive unchanged, or the
refusal names the file.

`make fuzz` tries 2,000 files of each kind; the suite a few.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.observations import screen
from quant_assets.ports import MarketDataSource
from resources.sources.files import ColumnMapping, Files
from resources.sources.histories import Histories
from resources.sources.tabular import Feed, Tabular
from tests.resources.mutations import Row, mutated, retyped

TRIED = int(os.environ.get("QUANT_FUZZ", "15"))
XNYS = calendar("XNYS")
DAYS = XNYS.between(XNYS.on_or_after(XNYS.at(2000)), XNYS.at(2004))
PRICES = ("10.5", "11.25", "9.75", "10.0")
REFUSALS = (CaptureUnreadable, ConfigurationError, ContractViolation)


def daily(*, named: bool) -> list[Row]:
    """Rows of two names, or of one that is not named."""
    return [
        (*((s,) if named else ()), str(d), *PRICES, str(1000 + n))
        for s in (("AA", "BB") if named else ("",))
        for n, d in enumerate(DAYS)
    ]


def as_files(path: Path) -> MarketDataSource:
    return Files(path, ColumnMapping(session="date"), XNYS, known_at="close+1h")


def as_feed(path: Path) -> MarketDataSource:
    mapping = {"session": "date", "symbol": "symbol", "rate": "close", "available": "volume"}
    constants = {c: "x" for c in dataset("borrow_rates").table.subject if c not in mapping}
    declared = {
        "kind": "tabular",
        "dataset": "borrow_rates",
        "files": str(path),
        "mapping": mapping,
        "constants": constants,
        "known_at": "event+1d",
    }
    return Tabular(msgspec.convert(declared, Feed))


def as_history(path: Path) -> MarketDataSource:
    return Histories("yahoo", str(path), XNYS)


def read(source: MarketDataSource) -> tuple[list[tuple[object, ...]], set[tuple[object, ...]]]:
    """The good rows, and the content of those that contradict another."""
    good, clashes = list[tuple[object, ...]](), set[tuple[object, ...]]()
    for label in source.labels():
        capture = source.fetch(label)
        if capture.dataset == "bars":
            good += capture.prices.select("symbol", pl.col("session").cast(pl.String), "close", "volume").rows()
        else:
            rows, bad = screen(dataset(capture.dataset), capture)
            good += rows.select("symbol", pl.col("session").cast(pl.String), "rate", "available").rows()
            clashes |= {tuple(str(c).split(",")) for c in bad.filter(reason="CONFLICT")["content"]}
    return good, clashes


def hold(source: MarketDataSource, path: Path, expected: Sequence[tuple[object, ...]], done: str) -> str:
    """That the expected rows arrive, or that the refusal names the file; which of the two it was."""
    good, clashes = list[tuple[object, ...]](), set[tuple[object, ...]]()
    try:
        good, clashes = read(source)
    except REFUSALS as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert path.name in said, f"{done}: {said}"
        return "refused"
    there = Counter(good)
    lost = [
        row for row in expected if not there[row] and not any(str(row[1]) in c and str(row[0]) in c for c in clashes)
    ]
    assert not lost, f"{done}: lost {lost[:2]}"
    return "read"


HEADS = {
    "files": "symbol,date,open,high,low,close,volume",
    "feed": "symbol,date,open,high,low,close,volume",
    "history": "Date,Open,High,Low,Close,Adj Close,Volume",
}
OPENED: dict[str, Callable[[Path], MarketDataSource]] = {"files": as_files, "feed": as_feed, "history": as_history}


def rows_of(kind: str) -> list[Row]:
    plain = daily(named=kind != "history")
    return [
        (*row[1:6], row[5], row[6]) if kind == "history" else row
        for row in ([("", *r) for r in plain] if kind == "history" else plain)
    ]


@pytest.mark.parametrize("kind", ["files", "feed", "history"])
def test_text_that_was_harmed(tmp_path: Path, kind: str) -> None:
    """Cells, bytes, quotes, lines, headers, cuts and packing of CSV."""
    rows = rows_of(kind)
    outcomes: Counter[str] = Counter()
    for seed in range(TRIED):
        file = mutated(HEADS[kind], rows, seed)
        path = tmp_path / f"f{seed}.csv"
        path.write_bytes(file.content)
        kept = [rows[n] for n in sorted(file.untouched)]
        expected = [
            (f"f{seed}", r[0], float(r[4]), int(r[6])) if kind == "history" else (r[0], r[1], float(r[5]), int(r[6]))
            for r in kept
        ]
        outcomes[hold(OPENED[kind](path), path, expected, f"seed {seed}: {file.done}")] += 1
        path.unlink()
    assert outcomes["read"] > TRIED / 3


@pytest.mark.parametrize("kind", ["files", "feed"])
def test_columns_that_were_harmed(tmp_path: Path, kind: str) -> None:
    """Types, cells, columns and bytes of Parquet; a flipped bit may change a value, and no more than that."""
    rows = [(s, d, 10.5, 11.25, 9.75, 10.0, 1000 + n) for s in ("AA", "BB") for n, d in enumerate(DAYS)]
    frame = pl.DataFrame(rows, schema=HEADS["files"].split(","), orient="row")
    outcomes: Counter[str] = Counter()
    for seed in range(TRIED):
        path = tmp_path / f"f{seed}.parquet"
        done, untouched = retyped(frame, path, seed)
        expected = [(rows[n][0], str(rows[n][1]), rows[n][5], rows[n][6]) for n in sorted(untouched)]
        outcomes[hold(OPENED[kind](path), path, expected, f"seed {seed}: {done}")] += 1
        path.unlink()
    assert outcomes["read"] > TRIED / 5
