"""Futures as a market of their own beside one of shares: what is derived of one is never seen in the other."""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from desk.day import arrive
from desk.deployment import Market
from quant_assets.market_data.chains import Series
from quant_assets.market_data.continuous import in_force
from quant_assets.market_data.master import listed
from quant_assets.market_data.universe import draw_universes
from quant_assets.moments import BeforeOpen
from quant_assets.rolls import Roll
from quant_assets.strategy import UniverseRule
from quant_assets.tables import ACTIONS, BARS, LISTINGS, UNIVERSE
from tests.jobs.two_venues import LONDON, NEW_YORK, deployment, workspace

LAST = date(2025, 10, 31)


def test_a_chain_is_a_series_of_its_own_market(tmp_path: Path) -> None:
    """Its listing, bars and rolls are in the lane of the futures alone, and so are the terms of its contracts."""
    source: Any = {"kind": "simulated_contracts", "first": date(2025, 9, 1), "last": date(2026, 1, 9), "roots": 1}
    chains = UniverseRule(name="chains", chains=("FA",), lookback=5, min_price=0.0)
    futures = msgspec.structs.replace(LONDON, name="futures", decide=BeforeOpen(15), universe=chains)
    declared = msgspec.structs.replace(
        deployment(),
        strategies=(NEW_YORK, futures),
        markets=(Market(calendar="XLON", source=source),),
        books=(),
    )
    own, london = workspace(tmp_path, declared).lanes
    list(arrive(london, LAST))
    sessions = london.cuts.calendar.between(date(2025, 9, 1), LAST)
    list(draw_universes(london.store, london.cuts, london.deployment.strategies, sessions))
    series = Series("XLON", "FA", Roll())
    where = {"sid": series.sid}
    assert london.store.read(LISTINGS, as_of=None, where=where)["calendar"].to_list() == ["XLON"]
    assert london.store.read(BARS, as_of=None, where=where)["session"].to_list() == sessions
    assert london.store.read(UNIVERSE, as_of=None)["sid"].unique().to_list() == [series.sid]
    assert [own.store.read(t, as_of=None, where=where).height for t in (LISTINGS, BARS, ACTIONS)] == [0, 0, 0]
    assert in_force(london.store, london.cuts, chains, LAST)[series.sid].symbol == "FAZ25"
    cut = london.cuts.of(LAST)
    assert [len(listed(w.store, cut)) for w in (own, london)] == [0, 4]
