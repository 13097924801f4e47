"""The simulated market of intraday bars."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.testing import LAWS
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.bars_of import BarsOf, DailyBars
from resources.sources.simulated_bars import SimulatedBars, SimulatedIntraday
from resources.tables.store import DeltaStore

ALWAYS, HOUR = calendar("24/7"), timedelta(hours=1)
MARKET = SimulatedBars(first=date(2025, 2, 1), last=date(2025, 2, 20), names=3)


@pytest.mark.parametrize("law", LAWS["source"].values(), ids=LAWS["source"])
@pytest.mark.parametrize("code", ["24/7", "FX", "XTKS"])
def test_the_laws_of_a_source_are_kept(law: Callable[..., None], code: str) -> None:
    """Each law of the shipped suite, at a venue that never closes, one that rests at week ends, one with a lunch."""
    venue = calendar(code)
    source = SimulatedIntraday(MARKET, venue)
    law(lambda: source, close=venue.close, rows=None, malformed=False)


def test_a_bar_is_known_when_it_ends_and_another_last_is_the_same_market() -> None:
    """Complete hours on the grid of the venue, whose prices are possible."""
    longer = msgspec.structs.replace(MARKET, last=date(2025, 3, 1))
    one, other = SimulatedIntraday(MARKET, ALWAYS), SimulatedIntraday(longer, ALWAYS)
    for label in one.labels():
        rows = one.fetch(label).others[INTRADAY_BARS.name]
        assert rows.equals(other.fetch(label).others[INTRADAY_BARS.name])
        assert rows["ts"].unique().sort().to_list() == [
            datetime(*label.timetuple()[:3], h, tzinfo=UTC) for h in range(24)
        ]
        assert (rows["known_at"] == rows["ts"] + HOUR).all()
        within = (pl.col("low") <= pl.min_horizontal("open", "close")) & (
            pl.col("high") >= pl.max_horizontal("open", "close")
        )
        assert rows.select(within.all()).item()


def test_what_goes_on_can_be_learnt() -> None:
    """The return of an hour goes with the mean of the three before it; without a trend it does not."""

    def correlation(trend: float) -> float:
        market = msgspec.structs.replace(MARKET, names=20, last=date(2025, 6, 30), trend=trend)
        source = SimulatedIntraday(market, ALWAYS)
        rows = pl.concat([source.fetch(d).others[INTRADAY_BARS.name] for d in source.labels()]).sort("symbol", "ts")
        moved = rows.select("symbol", r=(pl.col("close") / pl.col("open") - 1))
        past = pl.col("r").rolling_mean(3).shift(1).over("symbol")
        return moved.select(pl.corr("r", past)).item()

    assert correlation(0.3) > 0.1
    assert abs(correlation(0.0)) < 0.02


def test_a_historical_run_has_of_each_day_what_had_ended(tmp_path: Path) -> None:
    """Ingested hour by hour, each hour has what a range has of it by then, and the whole is the range."""
    source, whole, grown = SimulatedIntraday(MARKET, ALWAYS), DeltaStore(tmp_path / "a"), DeltaStore(tmp_path / "b")
    end = datetime(2025, 2, 3, tzinfo=UTC)
    ingest(source, whole, None, end, pending(source, whole, end.date()), ALWAYS)
    cut, now = None, datetime(2025, 2, 1, tzinfo=UTC)
    while now <= end:
        assert ingest(source, grown, cut, now, pending(source, grown, now.date()), ALWAYS).state != "refused"
        cut, now = now, now + HOUR
        one, other = (s.read(INTRADAY_BARS, as_of=cut).sort("ts", "symbol") for s in (whole, grown))
        assert one.equals(other)
    assert one.height == 2 * 24 * 3
    again = ingest(source, grown, cut, datetime(2025, 2, 1, 5, tzinfo=UTC), [date(2025, 2, 1)], ALWAYS)
    assert (again.state, again.numbers["observed"]) == ("empty", 0), (
        "an earlier hour that is run again takes nothing back"
    )


@pytest.mark.parametrize(("frequency", "fits"), [("1h", False), ("30m", True)])
def test_a_day_is_not_made_without_its_last_bars(tmp_path: Path, frequency: str, fits: bool) -> None:
    """New York trades six hours and a half: a bar of an hour that begins half an hour before the close is known too
    late to be in the close of the day. That is an error, and no other close.
    """
    venue, day, store = calendar("XNYS"), date(2025, 2, 4), DeltaStore(tmp_path)
    market = msgspec.structs.replace(MARKET, frequency=frequency)
    source = SimulatedIntraday(market, venue)
    ingest(source, store, None, datetime(2025, 2, 6, tzinfo=UTC), [day], venue)
    daily = DailyBars(BarsOf(venue=market.venue, frequency=frequency), store, venue)
    if fits:
        rows = source.fetch(day).others[INTRADAY_BARS.name].sort("ts").group_by("symbol", maintain_order=True).last()
        made = daily.fetch(day).prices.sort("symbol")
        assert made["close"].to_list() == rows.sort("symbol")["close"].to_list()
    else:
        with pytest.raises(CaptureUnreadable, match="begin at 20:30 UTC on 2025-02-04 end after the close"):
            daily.fetch(day)
