"""The history examined with hindsight: what is wrong is found by its own row, what would be right is proposed, and once
let in nothing is left to repair.
"""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.market_data.examination import examine
from quant_assets.market_data.repairs import mend
from quant_assets.records import Act
from quant_assets.tables import ACTIONS, BARS
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
DAYS = XNYS.between(date(2015, 1, 2), date(2015, 12, 31))
NOW = datetime(2016, 2, 1, tzinfo=UTC)
SPLIT, HUNDREDFOLD = DAYS[120], DAYS[60]


def market(*, wrong: bool = True) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Four names of a year, the first with a declared 2:1 split and a dividend; one row of the second stands in another
    unit.
    """
    random = np.random.default_rng(3)
    rows: list[pl.DataFrame] = []
    for sid in (11, 12, 13, 14):
        close = np.round(
            80
            * np.exp(np.cumsum(random.normal(0, 0.015, len(DAYS))))
            * np.where((sid == 11) & (np.array(DAYS) >= SPLIT), 0.5, 1.0),
            2,
        )
        frame = pl.DataFrame({"session": DAYS, "close": close}).with_columns(
            sid=pl.lit(sid, pl.Int64),
            symbol=pl.lit(f"N{sid}"),
            open=pl.col("close"),
            high=pl.col("close") + 0.5,
            low=pl.col("close") - 0.5,
        )
        rows.append(frame.with_columns(volume=pl.lit(100_000, pl.Int64)))
    bars = pl.concat(rows)
    if wrong:
        off = (pl.col("sid") == 12) & (pl.col("session") == HUNDREDFOLD)
        bars = bars.with_columns(
            pl.when(off).then(pl.col(c) * 100).otherwise(pl.col(c)).alias(c) for c in ("open", "high", "low", "close")
        )
    known = {
        "known_at": datetime(2016, 1, 4, tzinfo=UTC),
        "declared_known_at": datetime(2016, 1, 4, tzinfo=UTC),
        "source": "hand",
        "capture": DAYS[-1],
        "file": "f",
        "line": 1,
        "withdrawn": False,
        "adj_close": None,
    }
    stamped = bars.with_columns(**{k: pl.lit(v) for k, v in known.items()}).select(
        pl.col(c).cast(t) for c, t in BARS.schema.items()
    )
    acts = [
        {"session": SPLIT, "sid": 11, "kind": "split", "numerator": 2, "denominator": 1},
        {"session": DAYS[30], "sid": 11, "kind": "dividend", "cash": Decimal("0.4")},
    ]
    blank = (
        dict.fromkeys(ACTIONS.schema)
        | {k: v for k, v in known.items() if k in ACTIONS.schema}
        | {"origin": "declared", "confidence": 1.0}
    )
    return stamped, pl.DataFrame([blank | a for a in acts], schema=dict(ACTIONS.schema))


def test_a_sound_history_has_no_findings() -> None:
    """Declared splits and dividends are no errors."""
    found, mended = examine(*market(wrong=False), NOW)
    assert (found.height, mended.height) == (0, 0)


def test_a_unit_error_is_found_and_its_repair_is_the_truth() -> None:
    """The row is found by its own key, and what is proposed is the bar as it was before it was spoilt."""
    found, mended = examine(*market(), NOW)
    assert set(found["rule"]) == {"UNIT_100X"}
    assert {(json.loads(r)["sid"], json.loads(r)["session"]) for r in found["row"]} == {(12, str(HUNDREDFOLD))}
    truth = market(wrong=False)[0].filter(sid=12, session=HUNDREDFOLD)
    assert mended.select("sid", "session").rows() == [(12, HUNDREDFOLD)]
    assert mended.select("open", "high", "low", "close").row(0) == pytest.approx(
        truth.select("open", "high", "low", "close").row(0), rel=1e-12
    )


def test_repairs_let_in_leave_nothing_to_repair(tmp_path: Path) -> None:
    """They are later rows with who did it; the bars as of before keep the error; examined again, all is well."""
    store, ledger = DeltaStore(tmp_path / "tables"), open_ledger(tmp_path)
    bars, actions = market()
    store.append(BARS, bars)
    assert (
        mend(
            store,
            ledger.knowledge,
            ledger.audit,
            examine(bars, actions, NOW)[1],
            act=Act(by="ada", reason="a hundredfold", at=NOW),
            now=NOW,
        )
        == 1
    )
    standing = in_force(store.read(BARS, as_of=None), BARS)
    assert examine(standing, actions, NOW)[1].is_empty()
    assert standing.filter(source="repair").select("sid", "session", "file", "known_at").rows() == [
        (12, HUNDREDFOLD, "by ada", NOW)
    ]
    assert in_force(store.read(BARS, as_of=datetime(2016, 1, 31, tzinfo=UTC)), BARS).equals(in_force(bars, BARS))
    assert [a["act"] for a in ledger.audit.acts()] == ["repair bars"]
