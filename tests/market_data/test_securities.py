"""Which instrument a symbol meant in a session, as known at a cut."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.calendars import Cuts, calendar
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.securities import canonical, resolve, symbols
from quant_assets.tables import BARS, LISTINGS
from resources.tables.store import DeltaStore

DAY = date(2020, 1, 1)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)


def on(n: int) -> date:
    return DAY + timedelta(days=n)


def knew(n: int) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n)


def listings(*rows: tuple[int, int, str, bool, int]) -> pl.DataFrame:
    """LISTINGS of (session, sid, symbol, listed, known), days counted from `DAY`."""
    made = [
        {
            "session": on(s),
            "sid": sid,
            "symbol": symbol,
            "name": symbol,
            "sector": None,
            "listed": listed,
            "capture": on(s),
            "known_at": knew(k),
        }
        for s, sid, symbol, listed, k in rows
    ]
    return LISTINGS.conform(pl.DataFrame(made, schema=dict(LISTINGS.schema)))


def asked(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, on(n)) for symbol, n in rows], schema={"symbol": pl.String, "session": pl.Date}, orient="row"
    )


def sids(rows: pl.DataFrame, held: pl.DataFrame, cut: int = 99) -> list[int | None]:
    return resolve(rows, held, knew(cut))["sid"].to_list()


def test_a_ticker_change_keeps_the_instrument() -> None:
    """One instrument, two symbols one after the other: each means it in its own time, and neither in the other's."""
    held = listings((0, 7, "FB", True, 0), (10, 7, "META", True, 10))
    assert sids(asked(("FB", 9), ("FB", 10), ("META", 9), ("META", 10), ("FB", -1)), held) == [7, None, None, 7, None]
    assert symbols(pl.DataFrame({"sid": [7, 7, 8], "session": [on(9), on(10), on(9)]}), held, knew(99))[
        "symbol"
    ].to_list() == ["FB", "META", None]


def test_a_ticker_used_again_is_another_instrument() -> None:
    """The old holder until its listing ended, nobody in between, the new one from its listing on."""
    held = listings((0, 1, "Q", True, 0), (10, 1, "Q", False, 11), (20, 2, "Q", True, 20))
    assert sids(asked(*(("Q", n) for n in (9, 10, 19, 20, 50))), held) == [1, None, None, 2, 2]


def test_it_is_answered_as_known_at_the_cut() -> None:
    """Before anybody knew that the symbol had changed hands, it meant the old instrument; what was known later corrects
    the past from then on.
    """
    held = listings((0, 1, "CB", True, 0), (10, 1, "CB", False, 12), (10, 2, "CB", True, 12))
    assert sids(asked(("CB", 9), ("CB", 11)), held, cut=11) == [1, 1]
    assert sids(asked(("CB", 9), ("CB", 11)), held, cut=12) == [1, 2]
    assert sids(asked(("CB", 9)), held, cut=-1) == [None]


def test_of_two_claims_the_later_listing_has_it_while_it_lasts() -> None:
    """A second instrument takes the symbol for five days; then the first, whose listing never ended, has it again."""
    held = listings((0, 1, "A", True, 0), (10, 2, "A", True, 10), (15, 2, "A", False, 15))
    assert sids(asked(("A", 9), ("A", 10), ("A", 14), ("A", 15)), held) == [1, 2, 2, 1]


@pytest.mark.parametrize("written", ["BRK.B", "BRK-B", "BRK/B", "BRK B", "BRK_B", " brk.b ", "BRK - B"])
def test_punctuation_does_not_matter(written: str) -> None:
    """However a vendor writes a share class, on either side, it is the same symbol; another class is another one."""
    assert sids(
        asked((written, 1)), listings((0, 5, "BRK.B", True, 0), (0, 6, "BRK.A", True, 0), (0, 8, "BRKB", True, 0))
    ) == [5]
    assert sids(asked(("BRK.B", 1)), listings((0, 5, written, True, 0))) == [5]
    assert pl.DataFrame({"symbol": [written]}).select(canonical()).item() == "BRK.B"


def test_rows_keep_their_order_and_columns() -> None:
    """Nothing but `sid` is added, also where nothing is known, where rows repeat, and where symbol or session is
    missing.
    """
    rows = asked(("B", 5), ("A", 1), ("B", 5), ("A", 0)).with_columns(weight=pl.Series([0.1, 0.2, 0.3, 0.4]))
    rows = pl.concat(
        [
            rows,
            pl.DataFrame({"symbol": [None, "A"], "session": [on(1), None], "weight": [0.5, 0.6]}, schema=rows.schema),
        ]
    )
    out = resolve(rows, listings((0, 1, "A", True, 0)), knew(9))
    assert out.columns == ["symbol", "session", "weight", "sid"]
    assert out.drop("sid").equals(rows)
    assert out["sid"].to_list() == [None, 1, None, 1, None, None]
    assert resolve(rows, LISTINGS.empty(), knew(9))["sid"].to_list() == [None] * 6
    assert resolve(out, listings((0, 2, "A", True, 0)), knew(9))["sid"].to_list() == [None, 2, None, 2, None, None]


def brute(held: pl.DataFrame, symbol: str, session: date, cut: datetime) -> int | None:
    """By the definition: what each instrument's last event by the session says, as last known by the cut."""
    claims: list[tuple[date, datetime, int]] = []
    for sid in held["sid"].unique().to_list():
        known = [
            r for r in held.filter(pl.col("sid") == sid).sort("known_at").iter_rows(named=True) if r["known_at"] <= cut
        ]
        said = {r["session"]: r for r in known if r["session"] <= session}
        if said and (last := said[max(said)])["listed"] and last["symbol"] == symbol:
            claims.append((last["session"], last["known_at"], sid))
    return max(claims)[2] if claims else None


EVENTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 3), st.sampled_from("AB"), st.booleans(), st.integers(0, 6)),
    max_size=9,
    unique_by=lambda r: (r[0], r[1], r[4]),
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 6))
def test_it_is_the_definition_read_row_by_row(events: list[tuple[int, int, str, bool, int]], cut: int) -> None:
    """Whatever listings come, end, change and are corrected: the join answers what reading them one by one does, and
    the way back leads to a symbol that the instrument had.
    """
    held = listings(*events)
    rows = asked(*((s, n) for s in "AB" for n in range(-1, 8)))
    out = resolve(rows, held, knew(cut))
    assert out["sid"].to_list() == [brute(held, s, d, knew(cut)) for s, d in rows.iter_rows()]
    there = out.filter(pl.col("sid").is_not_null())
    assert symbols(there.drop("symbol"), held, knew(cut))["symbol"].to_list() == there["symbol"].to_list()


def test_the_symbol_that_changed_hands(panel: Callable[..., Any], tmp_path: Path) -> None:
    """In the real panel CB is old Chubb; the capture of 2016-01-15 shows that on the 14th it was another instrument
    already: what was asked before it stays answered as then.
    """
    store = DeltaStore(tmp_path)
    days = XNYS.between(date(2016, 1, 4), date(2016, 1, 22))
    ingest(
        panel(days[0], days[-1], ["CB", "ACE", "AAPL", "MSFT", "IACI", "GOOG", "XOM", "GE"]),
        store,
        None,
        NOW,
        days,
        XNYS,
    )
    held, bars = store.read(LISTINGS, as_of=None), store.read(BARS, as_of=None).filter(pl.col("symbol") == "CB")
    rows = pl.DataFrame(
        {"symbol": ["CB", "CB", "cb ", "ACE", "ACE"], "session": [date(2016, 1, d) for d in (13, 14, 19, 13, 19)]}
    )
    old, new = (
        bars.filter((pl.col("session") == date(2016, 1, 14)) & (pl.col("close") == c))["sid"][0]
        for c in (127.260002, 111.019997)
    )
    ace = store.read(BARS, as_of=None).filter(pl.col("symbol") == "ACE")["sid"][0]
    assert resolve(rows, held, CUTS.of(date(2016, 1, 14)))["sid"].to_list() == [old, old, old, ace, ace]
    assert resolve(rows, held, NOW)["sid"].to_list() == [old, new, new, ace, None]
    assert len({old, new, ace}) == 3
    assert symbols(
        pl.DataFrame({"sid": [old, old, ace, ace], "session": [date(2016, 1, d) for d in (13, 14, 13, 14)]}), held, NOW
    )["symbol"].to_list() == ["CB", None, "ACE", None]
