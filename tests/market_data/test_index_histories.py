"""Real histories of index members, told by different vendors in different ways, against each other."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from quant_assets.calendars import Cuts, calendar
from quant_assets.market_data.membership import (
    Membership,
    change_faults,
    changes,
    check_intervals,
    lists,
    spell_faults,
    spells,
)
from quant_assets.market_data.securities import canonical
from quant_assets.vendor_tables import INDEX_MEMBERS

CUTS = Cuts(calendar("XNYS"))
MICROS = pl.Datetime("us", "UTC")
SPELLS_END = date(2025, 7, 9)  # the last day that the spells know of


def remembered(events: pl.DataFrame, known_at: datetime | None = None) -> Membership:
    """The membership of events that were known as they happened, or since a time."""
    known = pl.col("session").cast(MICROS) if known_at is None else pl.lit(known_at).cast(MICROS)
    beside = {c: pl.lit(None, t) for c, t in INDEX_MEMBERS.schema.items() if c not in events.columns}
    rows = events.with_columns(**beside).with_columns(
        known_at=known, declared_known_at=known, withdrawn=pl.lit(value=False)
    )
    return Membership.from_index(INDEX_MEMBERS.conform(rows.select(*INDEX_MEMBERS.schema)))


@pytest.fixture(scope="module")
def sp500(shared_data: Path) -> pl.DataFrame:
    """Spells of S&P 500 tickers since 1996: symbol, start, until."""
    return pl.read_csv(shared_data / "sp500_membership" / "sp500_ticker_start_end.csv", try_parse_dates=True).select(
        symbol="ticker", start="start_date", until="end_date"
    )


@pytest.fixture(scope="module")
def log(shared_data: Path) -> pl.DataFrame:
    """The change log of the S&P 500 since 2019: session, symbol, member."""
    read = pl.read_csv(shared_data / "sp500_membership" / "sp500_changes_since_2019.csv", try_parse_dates=True)
    sides = [
        read.select(
            session="date", symbol=pl.col(side).fill_null("").str.split(","), member=pl.lit(side == "add")
        ).explode("symbol", empty_as_null=True)
        for side in ("add", "remove")
    ]
    return pl.concat(sides).filter(pl.col("symbol") != "")


def monthly(shared_data: Path, index: str) -> pl.DataFrame:
    """Month lists of an index: session (the 10th of the month after: by then they had surely been taken), symbol,
    month, file. Three months of the S&P 500 name no symbols.
    """
    files = sorted((shared_data / "index_constituents_monthly" / index).glob("*.csv"))
    read = [
        pl.read_csv(f, schema_overrides={"Symbol": pl.String}).select(
            month=pl.lit(date(*map(int, f.stem.split("-")), 1)), symbol="Symbol", file=pl.lit(f.name)
        )
        for f in files
    ]
    return (
        pl.concat(read)
        .drop_nulls("symbol")
        .with_columns(session=pl.col("month").dt.offset_by("1mo").dt.offset_by("9d"))
    )


def test_the_spells_are_sound(sp500: pl.DataFrame) -> None:
    """No spell is faulty, none overlaps another, and there were always between 487 and 507 members."""
    assert spell_faults(sp500).is_empty()
    check_intervals(sp500.with_columns(pl.col("until").fill_null(date.max)), "symbol")
    membership = remembered(spells(sp500, "sp500"))
    days = CUTS.calendar.between(date(1996, 1, 2), SPELLS_END)[::5]
    counts = membership.at(days, CUTS).group_by("session").len()
    assert counts.height == len(days)
    assert counts["len"].is_between(487, 507).all()
    intervals = membership.intervals(SPELLS_END, CUTS).rename({"who": "symbol"})
    assert intervals.equals(sp500.sort("symbol", "start"))


def test_the_last_day_of_a_spell_is_the_first_day_out(sp500: pl.DataFrame, log: pl.DataFrame) -> None:
    """Where the log dates the removal of the same spell, it names the spell's end itself; a successor starts on it,
    hardly ever the day after.
    """
    removed = (
        log.filter(~pl.col("member"))
        .join(sp500, on="symbol")
        .with_columns(apart=(pl.col("until") - pl.col("session")).dt.total_days())
        .filter(pl.col("apart").abs() <= 5)
    )
    assert removed.height == 136
    assert (removed["apart"] == 0).all()
    ends, starts = set(sp500["until"].drop_nulls()), set(sp500["start"])
    assert (len(ends & starts), len(ends & {s - timedelta(days=1) for s in starts})) == (503, 69)


def test_spells_and_log_agree(sp500: pl.DataFrame, log: pl.DataFrame) -> None:
    """270 of 276 events since 2019 are told by both: two renamings are dated differently, and the log leaves out the
    first change of 2019.
    """
    assert change_faults(log).is_empty()
    subject = ("session", "symbol", "member")
    ours = spells(sp500, "sp500").filter(pl.col("session") >= date(2019, 1, 1)).select(subject)
    theirs = changes(log, "sp500").filter(pl.col("session") <= SPELLS_END).select(subject)
    assert ours.join(theirs, on=subject).height == 270
    assert set(ours.join(theirs, on=subject, how="anti")["symbol"]) == {"WTW", "WLTW", "EG", "RE", "FRC", "SCG"}
    assert set(theirs.join(ours, on=subject, how="anti")["symbol"]) == {"WTW", "WLTW", "EG", "RE"}


def test_lists_and_spells_agree(sp500: pl.DataFrame, shared_data: Path) -> None:
    """Of 19,162 names on 38 month lists, all but nine were members within the two months before; all but four who were
    members throughout are on the list. Those are no shares, or stale.
    """
    told = monthly(shared_data, "sp500").with_columns(canonical())
    assert (told.height, told["month"].n_unique()) == (19_162, 38)
    spans = sp500.select(canonical(), "start", until=pl.col("until").fill_null(date.max))
    window = told.select("month", "session").unique().with_columns(since=pl.col("month").dt.offset_by("-60d"))
    near = window.join_where(spans, pl.col("start") <= pl.col("session"), pl.col("until") > pl.col("since"))
    throughout = near.filter((pl.col("start") <= pl.col("since")) & (pl.col("until") > pl.col("session")))
    extra, missing = (
        told.join(near, on=["month", "symbol"], how="anti"),
        throughout.join(told, on=["month", "symbol"], how="anti"),
    )
    assert (extra.height, missing.height) == (9, 4)
    assert set(extra["symbol"]) == {
        "BMY.RT",
        "OXY.WTWI",
        "OXY.WT",
        "FTRE",
        "PXD",
        "2483490D",
        "AMTM.W",
    }  # rights, warrants, spun off and held for a while, an id for a symbol
    assert set(missing["symbol"]) == {"CPRI", "VST", "TEL"}


def test_a_list_dated_to_the_tenth_of_the_next_month_knows_nothing_too_early(
    sp500: pl.DataFrame, shared_data: Path
) -> None:
    """No change that the lists show comes before the spells date it; by the month's own end, March 2020 would be six
    days ahead.
    """
    told = spells(sp500, "sp500").select(canonical(), "member", happened="session")
    ahead: list[int] = []
    for dated in (
        monthly(shared_data, "sp500"),
        monthly(shared_data, "sp500").with_columns(session=pl.col("month").dt.month_end()),
    ):
        shown = lists(dated.drop("month"), "sp500").with_columns(canonical())
        changed = shown.filter(pl.col("session") > dated["session"].min()).join(told, on=["symbol", "member"])
        lag = (pl.col("session") - pl.col("happened")).dt.total_days()
        nearest = (
            changed.with_columns(lag=lag)
            .sort(pl.col("lag").abs())
            .unique(["symbol", "member", "session"], keep="first")
        )
        ahead.append(nearest.filter(pl.col("lag").is_between(-31, -1)).height)
    assert ahead == [0, 8]


@pytest.mark.parametrize(
    ("index", "least", "most"),
    [("sp500", 503, 506), ("nasdaq100", 101, 101), ("ftse100", 100, 100), ("csi300", 300, 300)],
)
def test_lists_become_a_membership_of_their_size(index: str, least: int, most: int, shared_data: Path) -> None:
    """From list to list, gaps in between or not, the members are those of the last list."""
    told = monthly(shared_data, index)
    membership = remembered(lists(told.drop("month"), index))
    for (session,), of_day in told.partition_by("session", as_dict=True).items():
        later = CUTS.calendar.on_or_after(session)  # pyright: ignore[reportArgumentType]  # the key is a date
        assert membership.at([later], CUTS)["who"].to_list() == sorted(of_day["symbol"])
    days = CUTS.calendar.between(told["session"].min(), told["session"].max())  # type: ignore[arg-type]
    counts = membership.at(days, CUTS).group_by("session").len()["len"]
    assert (counts.len(), counts.min(), counts.max()) == (len(days), least, most)


def test_eight_years_of_lists_and_changes_close(shared_data: Path) -> None:
    """The Nasdaq-100 on each first of January is what the year's list and changes before it lead to: the lists add no
    event of their own; 101 to 107 members throughout.
    """
    years = [yaml.safe_load(f.read_text()) for f in sorted((shared_data / "nasdaq100_membership").glob("*.yaml"))]
    held = pl.DataFrame(
        [(date(y["year"], 1, 1), s) for y in years for s in y["tickers_on_Jan_1"]],
        schema={"session": pl.Date, "symbol": pl.String},
        orient="row",
    )
    log = [
        (date.fromisoformat(d), s, side == "union")
        for y in years
        for d, sides in y["changes"].items()
        for side, names in sides.items()
        for s in names
    ]
    between = pl.DataFrame(log, schema={"session": pl.Date, "symbol": pl.String, "member": pl.Boolean}, orient="row")
    assert change_faults(between).is_empty()
    events = lists(held, "nasdaq100", between)
    first = held.filter(pl.col("session") == date(2015, 1, 1)).height
    assert (first, events.height) == (105, first + between.height)
    days = CUTS.calendar.between(date(2015, 1, 2), date(2022, 12, 30))
    counts = remembered(events).at(days, CUTS).group_by("session").len()["len"]
    assert (counts.len(), counts.min(), counts.max()) == (len(days), 101, 107)


def test_a_history_bought_today_was_not_known_then(sp500: pl.DataFrame) -> None:
    """Loaded with the time at which it arrived, thirty years of members answer for no cut before it, and for all
    after.
    """
    arrived = datetime(2025, 7, 1, 12, tzinfo=UTC)
    membership = remembered(spells(sp500, "sp500"), arrived)
    assert membership.at([date(2016, 1, 4), date(2025, 6, 27)], CUTS).is_empty()
    assert membership.at([date(2025, 7, 1)], CUTS).height == 503


def test_spells_name_some_companies_by_what_they_were_called_later(sp500: pl.DataFrame, shared_data: Path) -> None:
    """Of the members in 2015 and 2016, all but twenty stand in the day's own listings: the others under symbols that
    came later, or are share classes that the listings lack. Those stay unknown.
    """
    listings = pl.read_parquet(shared_data / "pystock" / "listings_to_20160630.parquet")
    membership = remembered(spells(sp500, "sp500"))
    later = {"AABA", "ANDV", "APTV", "ARNC", "BHGE", "BKNG", "JEF", "KDP", "TPR", "UAA", "WELL", "WYND", "CBRE"}
    for day, unknown in ((date(2015, 4, 1), 20), (date(2015, 10, 1), 17), (date(2016, 5, 2), 17)):
        there = listings.filter((pl.col("first_capture") <= day) & (pl.col("last_capture") >= day)).select(canonical())
        missing = (
            membership.at([day], CUTS).select(symbol="who").join(there, on="symbol", how="anti")["symbol"].to_list()
        )
        assert len(missing) == unknown
        assert later | {"BRK.B", "BF.B"} <= set(missing)
