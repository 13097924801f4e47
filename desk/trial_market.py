"""A small simulated market, taken in once and kept: where a feature can be tried before there is any data."""

from datetime import date
from pathlib import Path

import msgspec

from desk.day import arrive
from desk.deployment import DEFAULT, load
from desk.lock import only_run
from desk.workspace import Workspace
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.publish import publish
from quant_assets.market_data.universe import update
from quant_assets.ports import Progress, quiet

FIRST, LAST, NAMES = date(2024, 4, 1), date(2024, 12, 31), 120


def trial_market(home: Path, progress: Progress = quiet) -> Workspace:
    """The workspace of the market under `home`: bars, a universe, and the platform's first set to compare with.

    What is there already is not made again.
    """
    default = load(DEFAULT)
    market = msgspec.structs.replace(default.source, names=NAMES, first=FIRST, last=LAST)
    ws = Workspace(home / "trial", msgspec.structs.replace(default, source=market))
    sessions, universe = ws.cuts.calendar.between(FIRST, LAST), ws.deployment.strategies[0].universe
    with only_run(ws.home):
        list(arrive(ws, LAST, progress))
        update(ws.store, ws.cuts, universe, sessions)
        publish(ws.store, PRICE_VOLUME, universe.name, ws.cuts, sessions, progress)
    return ws
