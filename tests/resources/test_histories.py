"""Histories of daily bars, relived session by session."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.derivation import derive, pairs
from resources.sources.histories import Histories
from resources.sources.rows import ACTIONS, PRICES

XNYS = calendar("XNYS")


def test_wiki_tells_its_own_actions(shared_data: Path) -> None:
    """Each session is a capture of the names traded, known an hour after the close by assumption; the seven-for-one
    split of Apple is a declared action of its day alone.
    """
    source = Histories("wiki", str(shared_data / "zipline" / "QUANDL_ARCHIVE.zip"), XNYS)
    captures = [source.fetch(label) for label in source.labels()]
    assert (len(captures), sum(c.prices.height for c in captures), sum(c.malformed.height for c in captures)) == (
        252,
        916,
        0,
    )
    assert all(c.assumed and c.known_at == XNYS.close(c.label) + timedelta(hours=1) for c in captures)
    actions = pl.concat([c.actions for c in captures if c.actions is not None])
    assert dict(actions.schema) == ACTIONS
    assert actions.filter(kind="split").select("symbol", "session", "numerator", "denominator").rows() == [
        ("AAPL", date(2014, 6, 9), 7, 1)
    ]
    assert actions.filter(kind="dividend").group_by("symbol").len().sort("symbol").rows() == [("AAPL", 4), ("MSFT", 4)]
    assert all((c.actions is not None) and (c.actions["session"] == c.label).all() for c in captures)


def test_an_adjusted_history_is_relived_day_by_day(shared_data: Path) -> None:
    """Each session brings its row and the one before; the dividends derived from the pairs multiply to what Adjusted
    Close says of the whole span.
    """
    source = Histories("yahoo", str(shared_data / "stocknet" / "CVX.csv.gz"), XNYS)
    labels = list(source.labels())[:300]
    captures = [source.fetch(label).prices for label in labels]
    assert [c["session"].to_list() for c in captures[1:]] == [list(pair) for pair in pairwise(labels)]
    assert all(
        c.filter(session=label).select((pl.col("close") == pl.col("adj_close")).all()).item()
        for c, label in zip(captures, labels, strict=True)
    )
    evidence = pl.concat([pairs(c.with_columns(sid=pl.lit(1, pl.Int64)), XNYS) for c in captures])
    raw = pl.read_csv(shared_data / "stocknet" / "CVX.csv.gz")[:300]
    ratio = raw["Adj Close"] / raw["Close"]
    assert evidence["factor"].product() == pytest.approx(ratio[0] / ratio[-1], rel=1e-5)
    found, unexplained, _ = derive(evidence)
    assert (set(found["kind"]), unexplained.height) == ({"dividend"}, 0)
    assert found.height == 4  # one a quarter


def test_histories_refuse_what_they_cannot_read(tmp_path: Path) -> None:
    """An unknown layout or rule is refused at once; an absent file, other columns and a day without rows when they are
    asked for; a line that is no bar is malformed.
    """
    for layout, rule, said in (("x", "close+1h", "no layout"), ("wiki", "label+1d", "not like close")):
        with pytest.raises(ConfigurationError, match=said):
            Histories(layout, "x", XNYS, known_at=rule)
    with pytest.raises(CaptureUnreadable, match="no such file"):
        Histories("yahoo", str(tmp_path / "A.csv"), XNYS).labels()
    path = tmp_path / "A.csv"
    path.write_text("Day,Open\n2024-01-02,1\n")
    with pytest.raises(CaptureUnreadable, match="columns are not those"):
        Histories("yahoo", str(path), XNYS).labels()
    path.write_text(
        "Date,Open,High,Low,Close,Adj "
        "Close,Volume\n2024-01-02,1,1,1,1,1,5.0\n2024-01-03,1,1\nnever,1,1,1,1,1,1\n2024-01-04,2,2,2,2,2,7\n"
    )
    source = Histories("yahoo", str(path), XNYS)
    assert list(source.labels()) == [date(2024, 1, 2), date(2024, 1, 4)]
    with pytest.raises(CaptureUnreadable, match="no rows of"):
        source.fetch(date(2024, 1, 3))
    rejected = pl.concat([source.fetch(label).malformed for label in source.labels()])
    assert sorted(rejected.select("line", "reason").rows()) == [
        (3, "has 3 fields instead of 7"),
        (4, "session is not a date YYYY-MM-DD"),
    ]


@pytest.mark.parametrize(
    ("layout", "files"), [("wiki", "zipline/QUANDL_ARCHIVE.zip"), ("yahoo", "stocknet/[AB]*.csv.gz")]
)
def test_histories_hold_to_the_port(shared_data: Path, layout: str, files: str) -> None:
    """Labels ascend within their bounds, a capture is the same each time it is fetched and no other's, and its frames
    are typed as the port says.
    """
    source, again = (Histories(layout, str(shared_data / files), XNYS) for _ in range(2))
    labels = list(source.labels())
    assert labels == sorted(set(labels))
    assert list(source.labels(labels[3], labels[5])) == labels[3:6]
    captures = [source.fetch(label) for label in labels[:30]]
    assert len({c.sha256 for c in captures}) == 30
    for capture in captures:
        assert capture.sha256 == again.fetch(capture.label).sha256
        assert dict(capture.prices.schema) == PRICES
        assert capture.prices["session"].max() == capture.label
