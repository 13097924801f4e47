"""Layouts of vendor files: what each says by hand, and the real files of every one, with each row accounted for."""

import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import yaml

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ContractViolation
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.observations import screen
from resources.sources.layouts import LAYOUTS
from resources.sources.tabular import Feed, Tabular
from tests.conftest import REPOSITORY

XNYS = calendar("XNYS")
DECLARED: Sequence[Mapping[str, Any]] = yaml.safe_load(
    (REPOSITORY / "bench" / "real_feeds.yaml").read_text(encoding="utf-8")
)


def real(shared: Path, name: str) -> Tabular:
    """The feed of that name, on the real files."""
    (declared,) = (f for f in DECLARED if f"{f['dataset']}/{f['name']}" == name)
    return Tabular(msgspec.convert({**declared, "files": str(shared / declared["files"])}, Feed))


def taken(source: Tabular) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that may stand, and those refused, of all captures; together they are all there are, but for identical
    ones.
    """
    good, bad = [], []
    for label in source.labels():
        capture = source.fetch(label)
        rows, refused = screen(source.dataset, capture)
        given = capture.others[source.dataset.name]
        identical = given.height - given.select(*source.dataset.columns, "known_at").n_unique()
        assert rows.height + refused.height >= given.height - identical
        good.append(rows)
        bad.append(refused)
    return pl.concat(good), pl.concat(bad)


def laid(folder: Path, name: str, files: Mapping[str, str]) -> list[pl.DataFrame]:
    """What a layout makes of each of these files, in order."""
    paths = []
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"{path.stem}.csv", content)
        else:
            path.write_text(content)
        paths.append(path)
    return [LAYOUTS[name](path, folder, paths[:n]) for n, path in enumerate(paths)]


def told(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.filter(pl.col("fault").is_null()).select(columns).rows()


def faults(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(frame.filter(pl.col("fault").is_not_null()).select("line", "fault", "content").rows())


def test_trade_and_quote_bars_of_lean(tmp_path: Path) -> None:
    """Milliseconds count from midnight of the file's day; a quote bar is the middle, without volume; a market that has
    trades files its quotes apart.
    """
    folder = "crypto/coinbase/minute/btcusd"
    trades, quotes = laid(
        tmp_path,
        "lean_bars",
        {
            f"{folder}/20170903_trade.zip": "0,10,12,9,11,0.5\n60000,11,11,11,11,1\n120000,1,2\nx,1,1,1,1,1\n",
            f"{folder}/20170903_quote.zip": "60000,1,3,1,2,5,3,5,3,4,6\n0,,3,1,2,5,3,5,3,4,6\n",
        },
    )
    at = datetime(2017, 9, 3, tzinfo=UTC)
    assert told(trades, "ts", "venue", "symbol", "seconds", "open", "close", "volume") == [
        (at, "coinbase", "BTCUSD", 60, "10", "11", "0.5"),
        (at + timedelta(minutes=1), "coinbase", "BTCUSD", 60, "11", "11", "1"),
        (None, "coinbase", "BTCUSD", 60, "1", "1", "1"),
    ]
    assert faults(trades) == [(3, "has 3 fields instead of 6", "120000,1,2")]
    assert told(quotes, "ts", "symbol", "open", "high", "low", "close", "volume") == [
        (at + timedelta(minutes=1), "BTCUSD.MID", 2.0, 4.0, 2.0, 3.0, None)
    ]
    assert faults(quotes) == [(2, "a quote without bid or ask has no middle", None)]


def test_daily_forex_bars_of_lean(tmp_path: Path) -> None:
    """FXCM's midnight is five hours behind UTC the year round, and its quotes are all there is of the pair."""
    (bars,) = laid(
        tmp_path,
        "lean_bars",
        {"forex/fxcm/daily/eurusd.zip": "20070330 00:00,1,3,1,2,0,3,5,3,4,0\n20070708 00:00,1,3,1,2,0,3,5,3,4,0\n"},
    )
    assert told(bars, "ts", "symbol", "seconds", "close") == [
        (datetime(2007, 3, 30, 5, tzinfo=UTC), "EURUSD", 86400, 3.0),
        (datetime(2007, 7, 8, 5, tzinfo=UTC), "EURUSD", 86400, 3.0),
    ]
    with pytest.raises(CaptureUnreadable, match="no folder"):
        laid(tmp_path, "lean_bars", {"eurusd.zip": "1"})


def test_funding_of_a_perpetual(tmp_path: Path) -> None:
    """Eight hours' rate is annualised, each of a day's fundings is a tenor, known when due."""
    (rates,) = laid(
        tmp_path, "lean_funding", {"binance/margin_interest/btcusd.csv": "20201229 08:00:00,0.0001\nlater,0.1\n"}
    )
    assert rates.select("session", "curve", "tenor", "known_at").row(0) == (
        "2020-12-29",
        "BTCUSD.PERP binance",
        "8h from 08:00",
        datetime(2020, 12, 29, 8, tzinfo=UTC),
    )
    assert float(rates["rate"][0]) == pytest.approx(0.1095, rel=1e-12)
    assert rates["session"][1] == "later"


def test_what_a_perpetual_paid(tmp_path: Path) -> None:
    """Each payment is a row, as it was, known when due; a line without a time is refused with its place."""
    text = "20201229 08:00:00,0.0001\nlater,0.1\n20201229 16:00:00,-0.0002\n"
    (tmp_path / "binance" / "margin_interest").mkdir(parents=True)
    (tmp_path / "binance" / "margin_interest" / "btcusd.csv").write_text(text)
    source = Tabular(Feed("funding_rates", str(tmp_path / "binance/*/*.csv"), layout="lean_payments"))
    clean, refused = taken(source)
    at = [datetime(2020, 12, 29, hour, tzinfo=UTC) for hour in (8, 16)]
    assert clean.select("ts", "venue", "symbol", "rate", "declared_known_at").rows() == [
        (t, "binance", "BTCUSD.PERP", rate, t) for t, rate in zip(at, (0.0001, -0.0002), strict=True)
    ]
    assert refused.select("line", "reason").rows() == [(2, "ts is no time, UTC")]


def test_the_real_funding_of_lean(shared_data: Path) -> None:
    """Every line of the real file is a payment, eight hours after the one before or on a later day."""
    file = shared_data / "lean/cryptofuture/binance/margin_interest/btcusd.csv"
    given = [line.split(",") for line in file.read_text().splitlines()]
    source = Tabular(Feed("funding_rates", str(file), layout="lean_payments"))
    rows, refused = taken(source)
    assert refused.is_empty()
    assert rows.sort("ts")["rate"].to_list() == [float(rate) for _, rate in given]
    assert rows.filter(pl.col("ts").dt.hour() % 8 != 0).is_empty()
    assert (rows["declared_known_at"] == rows["ts"]).all()


def test_spells(tmp_path: Path) -> None:
    """A spell is an entry and an exit; one that overlaps, ends before it begins or has no readable end is refused
    whole, with what it said.
    """
    text = (
        "ticker,start_date,end_date\nA,2000-01-03,\nB,2000-01-03,2001-01-03\nB,2002-01-03,2003-01-03\n"
        "C,2002-01-03,2001-01-03\nB,2002-06-03,\nD,2000-01-03,soon\n,2000-01-03,\nE,2000-01-03\n"
    )
    (events,) = laid(tmp_path, "spells", {"x.csv": text})
    assert sorted(told(events, "symbol", "session", "member")) == [
        ("A", date(2000, 1, 3), True),
        ("B", date(2000, 1, 3), True),
        ("B", date(2001, 1, 3), False),
        ("B", date(2002, 1, 3), True),
        ("B", date(2003, 1, 3), False),
    ]
    assert [(line, content) for line, _, content in faults(events)] == [
        (5, "C,2002-01-03,2001-01-03"),
        (6, "B,2002-06-03,"),
        (7, "D,2000-01-03,soon"),
        (8, ",2000-01-03,"),
        (9, "E,2000-01-03"),
    ]


def test_changes(tmp_path: Path) -> None:
    """A cell may name several symbols; a symbol that is both added and removed on a day is refused."""
    (events,) = laid(
        tmp_path,
        "changes",
        {"x.csv": 'date,add,remove\n2019-06-03,"CTVA,DD","DWDP"\n2019-07-01,"X","X"\nnever,"Y",""\n'},
    )
    assert sorted(told(events, "session", "symbol", "member")) == [
        (date(2019, 6, 3), "CTVA", True),
        (date(2019, 6, 3), "DD", True),
        (date(2019, 6, 3), "DWDP", False),
    ]
    assert [(line, content) for line, _, content in faults(events)] == [
        (3, "2019-07-01,X,X"),
        (3, "2019-07-01,X,X"),
        (4, "never,Y,"),
    ]


def test_lists_of_months(tmp_path: Path) -> None:
    """The first list is all entries; a later one says only what changed, on the month's last day; a thin one takes
    nobody away; a line without a symbol is refused.
    """
    names = "".join(f"S{n},Name {n}\n" for n in range(10))
    one, two, thin, after = laid(
        tmp_path,
        "lists",
        {
            "2024-01.csv": f"Symbol,Name\n{names}",
            "2024-02.csv": f"Symbol,Name\n{names[10:]}NEW,New\n,Nobody\n",
            "2024-03.csv": "Symbol,Name\nS3,x\n",
            "2024-05.csv": f"Symbol,Name\n{names[10:]}NEW,New\n",
        },
    )
    assert len(told(one, "symbol")) == 10
    assert sorted(told(two, "session", "symbol", "member", "file", "line")) == [
        (date(2024, 2, 29), "NEW", True, "2024-02.csv", 11),
        (date(2024, 2, 29), "S0", False, "2024-02.csv", 0),
    ]
    assert faults(two) == [(12, "no symbol", ",Nobody")]
    assert told(thin, "symbol") == told(after, "symbol") == []


def test_a_list_and_its_changes_in_yaml(tmp_path: Path) -> None:
    """Scalars are names: ON is a company.

    A change is an event with its line; the next year's list says what no change told.
    """
    first = (
        "year: 2021\ntickers_on_Jan_1:\n  - ON\n  - A\n  - B\n  - C\n  - D\n  - E\nchanges:\n  "
        "'2021-03-01':\n    difference:\n      - A\n    union:\n      - NO\n"
    )
    second = "year: 2022\ntickers_on_Jan_1: [ON, NO, C, D, E, F]\n"
    one, two = laid(tmp_path, "lists_and_changes", {"2021.yaml": first, "2022.yaml": second})
    assert {s for (s,) in told(one.filter(pl.col("session") == date(2021, 1, 1)), "symbol")} == {
        "ON",
        "A",
        "B",
        "C",
        "D",
        "E",
    }
    assert sorted(told(one.filter(pl.col("session") > date(2021, 1, 1)), "session", "symbol", "member", "line")) == [
        (date(2021, 3, 1), "A", False, 12),
        (date(2021, 3, 1), "NO", True, 14),
    ]
    assert sorted(told(two, "session", "symbol", "member")) == [
        (date(2022, 1, 1), "B", False),
        (date(2022, 1, 1), "F", True),
    ]
    with pytest.raises(CaptureUnreadable, match="no year of a list"):
        laid(tmp_path, "lists_and_changes", {"2023.yaml": "tickers: [A]\n"})


def test_databento_actions(tmp_path: Path) -> None:
    """Known when recorded; a deleted event is withdrawn; an event without ex-date has its own; fields of other events
    are unknown.
    """
    records = [
        {
            "ts_record": "2023-10-10T04:37:14Z",
            "event_unique_id": "U-1",
            "event": "DIV",
            "event_action": "I",
            "ex_date": "2023-10-20",
            "symbol": "A",
            "operating_mic": "XNAS",
            "rate_info": {"gross_dividend": 0.25},
        },
        {
            "ts_record": "2023-10-11T04:37:14Z",
            "event_unique_id": "U-1",
            "event": "DIV",
            "event_action": "D",
            "ex_date": None,
            "event_date": "2023-10-21",
            "symbol": "A",
            "operating_mic": "XNAS",
        },
    ]
    (rows,) = laid(
        tmp_path, "databento_actions", {"x.jsonl": "\n".join(msgspec.json.encode(r).decode() for r in records)}
    )
    assert rows.select("session", "event_id", "cash", "numerator", "withdrawn", "known_at").rows() == [
        ("2023-10-20", "U-1", "0.25", None, False, datetime(2023, 10, 10, 4, 37, 14, tzinfo=UTC)),
        ("2023-10-21", "U-1", None, None, True, datetime(2023, 10, 11, 4, 37, 14, tzinfo=UTC)),
    ]


def test_spans_of_listings(tmp_path: Path) -> None:
    """A symbol is delisted the day after its last capture, unless another name of it goes on or the captures end."""
    days = [date(2024, 1, d) for d in (2, 10, 11, 31)]
    pl.DataFrame(
        {
            "symbol": ["A", "A", "B", "C"],
            "name": ["Old", "New", "Bee", "Sea"],
            "first_capture": [days[0], days[2], days[0], days[0]],
            "last_capture": [days[1], days[3], days[1], days[3]],
        }
    ).write_parquet(tmp_path / "x.parquet")
    rows = LAYOUTS["listing_spans"](tmp_path / "x.parquet", tmp_path, ())
    assert rows.filter(status="delisted").select("session", "symbol").rows() == [(days[2], "B")]
    assert rows.filter(status="listed").height == 4


FEEDS = [f"{f['dataset']}/{f['name']}" for f in DECLARED]
LARGE = {"filings/pystock"}  # its 288 captures are read in one, below


@pytest.mark.parametrize("name", [f for f in FEEDS if f not in LARGE])
def test_the_real_feed_is_read_whole(shared_data: Path, name: str) -> None:
    """Every real file is taken: no row is lost between reading and judging, and what is refused is no more than is
    known to be wrong with it.
    """
    good, bad = taken(real(shared_data, name))
    assert good.height > 0
    assert bad.height == {"index_members/monthly_sp500": 1515}.get(name, 0)
    columns = dataset(name.split("/", maxsplit=1)[0]).columns
    assert good.select(columns).n_unique() <= good.height
    assert good.select(pl.col("declared_known_at").null_count()).item() == 0


def test_the_real_filings(shared_data: Path) -> None:
    """A number that is there is a row, known the afternoon after its capture; one label a day of captures."""
    source = real(shared_data, "filings/pystock")
    raw = pl.read_parquet(shared_data / "pystock" / "sec_reports_to_20160630.parquet")
    assert list(source.labels()) == raw["captured_on"].unique().sort().to_list()
    label = date(2015, 5, 8)
    day = raw.filter(pl.col("captured_on") == label)
    numbers = day.select(pl.selectors.float())
    rows = source.fetch(label).others["filings"]
    assert rows.height == numbers.height * numbers.width - numbers.null_count().sum_horizontal().item()
    assert rows["known_at"].unique().to_list() == [datetime(2015, 5, 9, 13, tzinfo=UTC)]
    assert rows.filter(item="net_income")["value"].sum() == pytest.approx(day["net_income"].sum(), rel=1e-12)


def test_the_real_bars_of_lean(shared_data: Path) -> None:
    """Every line of every archive is a bar of its own; minutes ascend within the file's day, UTC; the perpetual is told
    apart from the coin.
    """
    lines = {}
    for market in ("crypto/coinbase", "cryptofuture/binance", "forex/fxcm"):
        for path in (shared_data / "lean" / market).rglob("*.zip"):
            with zipfile.ZipFile(path) as archive:
                lines[market] = lines.get(market, 0) + sum(
                    len(archive.read(m).split())
                    if b":" not in archive.read(m)[:20]
                    else len(archive.read(m).splitlines())
                    for m in archive.namelist()
                )
    rows = {m: taken(real(shared_data, f"intraday_bars/{m.split('/')[1]}"))[0] for m in lines}
    assert {m: r.height for m, r in rows.items()} == lines
    whole = pl.concat(rows.values())
    assert whole.select("venue", "symbol", "seconds", "ts").is_unique().all()
    assert set(whole["symbol"]) == {
        "BTCUSD",
        "BTCUSD.MID",
        "BTCUSD.PERP",
        "BTCUSD.PERP.MID",
        "EURUSD",
        "EURGBP",
        "GBPUSD",
    }
    minutes = whole.filter(pl.col("seconds") == 60, pl.col("venue") != "fxcm")
    assert (
        minutes["ts"].dt.date().cast(pl.String).str.replace_all("-", "") == minutes["file"].str.extract(r"(\d{8})_")
    ).all()
    eurusd = whole.filter(
        pl.col("symbol") == "EURUSD",
        pl.col("seconds") == 60,
        pl.col("ts").dt.date() >= date(2014, 5, 9),
        pl.col("ts").dt.date() < date(2014, 5, 11),
    )
    assert eurusd["ts"].max() == datetime(
        2014, 5, 9, 20, 59, tzinfo=UTC
    )  # the market closes on Friday at 17:00 in New York


def test_the_two_french_files_agree(shared_data: Path) -> None:
    """Months that both have carry the same factors, in fractions, to the percent's second decimal: the one in percent
    was scaled, the one in fractions was not.
    """
    ours, theirs = (
        taken(real(shared_data, f"factor_returns/{n}"))[0].with_columns(pl.col("factor").str.replace("-", ""))
        for n in ("french", "french_portfolios")
    )
    both = ours.join(theirs, on=["session", "factor"]).filter(pl.col("session") < date(1990, 1, 1))
    assert both.height == 492 * 4
    assert both.filter((pl.col("value") - pl.col("value_right")).abs() < 5e-3).height > 0.99 * both.height
    assert ours["session"].min() == date(1926, 7, 31)


def test_the_vintage_is_known_on_its_day(shared_data: Path) -> None:
    """The macro vintage of 29 June 2016 is known that evening, and holds May's payrolls and not June's."""
    rows, _ = taken(real(shared_data, "economic_series/frbny"))
    assert rows["declared_known_at"].unique().to_list() == [datetime(2016, 6, 29, 22, tzinfo=UTC)]
    payrolls = rows.filter(pl.col("series") == "PAYEMS").sort("session")
    assert payrolls.select("session", "value").row(-1) == (date(2016, 5, 1), 143894.0)


def test_spells_end_as_changes_say(shared_data: Path) -> None:
    """The two files of one vendor agree: of the names that both know, nearly all leave in the session in which the log
    removes them. So the end of a spell is its first session outside.
    """
    spells, log = (taken(real(shared_data, f"index_members/sp500_{n}"))[0] for n in ("spells", "changes"))
    left = log.filter(~pl.col("member"), pl.col("symbol").is_in(spells.filter(~pl.col("member"))["symbol"].to_list()))
    assert left.join(spells, on=["symbol", "session", "member"]).height / left.height > 0.9


def test_a_layout_without_what_the_contract_needs_says_so(tmp_path: Path) -> None:
    """A feed that forgets a constant is told which columns nobody gives."""
    (tmp_path / "x.csv").write_text("ticker,start_date,end_date\nA,2000-01-03,\n")
    source = Tabular(Feed(dataset="index_members", files=str(tmp_path / "x.csv"), layout="spells", known_at="event+0d"))
    with pytest.raises(ContractViolation, match=r"missing: \['index'\]"):
        source.fetch(source.labels()[0])
