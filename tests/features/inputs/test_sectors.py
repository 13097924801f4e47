"""Sectors as they were known: the listing's own, or a scheme's, under whichever symbol the member had."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from quant_assets.features.inputs.sectors import SECTOR, classified
from tests.features.small_history import CUTS, DAYS, NAME, history, known, listing, member


def told(
    symbol: str,
    sector: str | None,
    session: date = date(2015, 1, 2),
    at: datetime | None = None,
    *,
    scheme: str = "GICS",
    withdrawn: bool = False,
) -> dict[str, object]:
    """A classification from a session on."""
    return {
        "symbol": symbol,
        "sector": sector,
        "industry": None,
        "scheme": scheme,
        "session": session,
        "known_at": at or known(DAYS[2]),
        "withdrawn": withdrawn,
    }


def by_session(frame: pl.DataFrame) -> dict[int, list[str | None]]:
    """Each member's sectors, session by session."""
    return {
        int(str(sid)): rows["sector"].to_list()
        for (sid,), rows in frame.sort("session").partition_by("sid", as_dict=True, maintain_order=True).items()
    }


def test_the_listings_own_sector_as_known_at_each_cut(tmp_path: Path) -> None:
    """A change of sector counts from the cut that knew it, even where it is dated earlier; who left the universe has
    none.
    """
    listings = [
        listing(1, sector="Tech"),
        listing(1, sector="Media", session=DAYS[1], at=known(DAYS[3])),
        listing(2),
        listing(3, sector="Banks"),
    ]
    store = history(tmp_path, listings=listings, universe=[member(1), member(2), member(3, until=DAYS[2])])
    found = SECTOR.read(store, CUTS, NAME, DAYS[:5])
    assert by_session(found) == {1: ["Tech"] * 3 + ["Media"] * 2, 2: [None] * 5, 3: ["Banks"] * 2}


def scheme_market(path: Path, more: Sequence[dict[str, object]] = ()) -> pl.DataFrame:
    """Sectors of two names over eight sessions: one moves to another symbol, one is spelled otherwise by the scheme."""
    listings = [
        listing(1, "OLD", sector="own"), listing(1, "NEW", sector="own", session=DAYS[4], at=known(DAYS[5])),
        listing(2, "BRK.B", sector="own"), listing(3, "OLD", sector="own", session=DAYS[6], at=known(DAYS[6])),
    ]  # fmt: skip
    rows = [
        told("OLD", "Energy"),
        told("NEW", "Utilities"),
        told("BRK-B", "Financials"),
        told("BRK-B", "Later", DAYS[7], known(DAYS[3])),
        told("OLD", "Mine", scheme="ours", at=known(DAYS[0])),
        *more,
    ]
    store = history(path, listings=listings, sectors=rows, universe=[member(1), member(2)])
    found = SECTOR.read(store, CUTS, NAME, DAYS[:8])
    days = pl.concat([SECTOR.read(store, CUTS, NAME, [s]) for s in DAYS[:8]])
    assert found.equals(days)
    assert by_session(classified("ours").read(store, CUTS, NAME, DAYS[:2])) == {1: ["Mine"] * 2, 2: [None] * 2}
    return found


def test_a_scheme_speaks_from_the_first_cut_that_knows_it(tmp_path: Path) -> None:
    """Until then the listing's sector stands; then its own, by the symbol that the member had as known at the cut, in
    whichever spelling; and a dated one from its day.
    """
    assert by_session(scheme_market(tmp_path)) == {
        1: ["own"] * 2 + ["Energy"] * 3 + ["Utilities"] * 3,  # the new symbol is known a session late
        2: ["own"] * 2
        + ["Financials"] * 4
        + ["Later"] * 2,  # from session 7 on: so it is when what is decided after session 6 trades
    }


def test_a_scheme_and_the_listings_are_never_mixed(tmp_path: Path) -> None:
    """Where the scheme takes one name back, that one has no sector, as long as it classifies any other; where it is
    told late of it, from then on.
    """
    took_back = [
        told("BRK-B", None, at=known(DAYS[5]), withdrawn=True),
        told("BRK-B", None, DAYS[7], at=known(DAYS[5]), withdrawn=True),
    ]
    assert by_session(scheme_market(tmp_path, took_back))[2] == ["own"] * 2 + ["Financials"] * 3 + [None] * 3
