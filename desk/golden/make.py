"""Writes what the golden market is expected to give on every machine: `make golden`, after a change that is meant to
change ids.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from desk.golden import market
from quant_assets.features.catalogue import find_set
from quant_assets.models.training import retrain
from quant_assets.tables import MODELS


class _Nowhere:
    """Training is not tracked."""

    def log(self, **_: Any) -> str:
        return "golden"

    def promote(self, strategy: str, registry_version: str) -> None:
        pass


def fitted() -> None:
    """Fit the model on the market up to its first live session, and write model.txt and model.json.

    Raises SystemExit where training is refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        ws = market.prepared(Path(folder))
        (strategy,) = ws.deployment.strategies
        cut = ws.cuts.calendar.shift(ws.deployment.start, -1)
        said = retrain(ws.store, _Nowhere(), find_set(strategy.feature_set), strategy, ws.cuts, cut)
        rows = ws.store.read(MODELS, as_of=None)
        if rows.is_empty():
            raise SystemExit(said.reason)
        row = rows.row(0, named=True)
    beside = {c: row[c] for c in ("rows", "params", "metrics", "snapshot", "registry_version")}
    (market.FOLDER / "model.txt").write_text(row["text"])
    (market.FOLDER / "model.json").write_bytes(msgspec.json.format(msgspec.json.encode(beside)) + b"\n")


def make() -> market.Golden:
    """Write expected.json from the stored model; where that was deleted, fit one first."""
    if not (market.FOLDER / "model.txt").exists():
        fitted()
    with tempfile.TemporaryDirectory() as folder:
        found = market.golden(Path(folder))
    (market.FOLDER / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{make().fingerprint}\n")
