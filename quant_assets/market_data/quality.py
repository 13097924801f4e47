"""Whether a session's bars may be traded on: rules declared once, evaluated here in Polars, and by Great Expectations
in `expectations`.

Verdicts are rows, filed under the hash of the very content they judged. No row means no.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.market_data.partitions import JUDGED, partitions
from quant_assets.market_data.rules import Rule, findings, measured, verdicts
from quant_assets.market_data.vendors import Vendor
from quant_assets.portable import ln, log
from quant_assets.ports import KnowledgeLog, Store
from quant_assets.records import StageReport, frame_hash
from quant_assets.tables import BARS, DATA_FINDINGS, VERDICTS

PRICES = ("open", "high", "low", "close")


_RETURN = pl.col("close") / pl.col("close_before") - 1
_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 15.0, 20.0)


def _looks_like_split(move: pl.Expr) -> pl.Expr:
    """Whether a move from a close to the next open is within a fiftieth of a usual split's ratio, either way.

    Ratios below 1.5 are what markets do by themselves.
    """
    return pl.any_horizontal((move * r - 1).abs() < 0.02 for r in (*_RATIOS, *(1 / r for r in _RATIOS)))


_HUNDREDFOLD = (ln(pl.col("close")) - ln(pl.col("close_before"))).abs() - float(log(100))
_SPLIT = ln(pl.col("split_ratio")).abs()
_SPREAD = (
    _RETURN - _RETURN.median()
).abs().median() * 1.4826  # of the day's cross-section, robust against the very outliers

RULES = (
    Rule(
        "captured",
        "block",
        "Has the session's own capture arrived by the cut?",
        pl.col("captured").cast(pl.Float64),
        1.0,
        at_least=True,
    ),
    Rule(
        "coverage",
        "block",
        "Are there about as many rows as in the sessions before?",
        pl.len() / pl.col("usual_rows"),
        0.8,
        at_least=True,
    ),
    Rule(
        "quarantined",
        "block",
        "Was only a small part of the capture sent to quarantine?",
        pl.col("quarantined_share"),
        0.05,
    ),
    Rule(
        "ohlc_valid",
        "block",
        "Are prices positive, high the highest and low the lowest?",
        (pl.min_horizontal(PRICES) <= 0)
        | (pl.col("high") != pl.max_horizontal(PRICES))
        | (pl.col("low") != pl.min_horizontal(PRICES)),
        found=pl.col("high"),
        expected=pl.max_horizontal(PRICES),
    ),
    Rule(
        "no_duplicates",
        "block",
        "Does each instrument have one row, each symbol one instrument?",
        pl.col("sid").is_duplicated() | pl.col("symbol").is_duplicated(),
    ),
    Rule(
        "zero_volume",
        "warn",
        "Do few rows have no volume (placeholders, halts)?",
        pl.col("volume") == 0,
        0.02,
        found=pl.col("volume"),
        expected=pl.col("volume_before"),
    ),
    Rule(
        "stale",
        "block",
        "Do few rows repeat the session before, price for price?",
        pl.all_horizontal(pl.col(c) == pl.col(f"{c}_before") for c in PRICES),
        0.1,
        found=pl.col("close"),
        expected=pl.col("close_before"),
    ),
    Rule(
        "outliers",
        "warn",
        "Do few names move by more than half without a corporate action?",
        (_RETURN.abs() > 0.5) & ~pl.col("acted"),
        0.005,
        found=pl.col("close"),
        expected=pl.col("close_before"),
    ),
    Rule(
        "cross_section",
        "warn",
        "Do few names stand far out of the day's cross-section (15 robust deviations and a tenth)?",
        ((_RETURN - _RETURN.median()).abs() > 15 * _SPREAD + 0.1) & ~pl.col("acted"),
        0.02,
        found=_RETURN,
        expected=_RETURN.median(),
    ),
    Rule(
        "unit",
        "block",
        "Is no price in another unit or currency (pence for pounds: a hundredfold)?",
        (_HUNDREDFOLD.abs() < 0.25) & ~pl.col("acted"),
        0.005,
        found=pl.col("close"),
        expected=pl.col("close_before"),
    ),
    Rule(
        "split_missed",
        "warn",
        "Does no price open at a split's ratio that nobody declared?",
        _looks_like_split(pl.col("open") / pl.col("close_before")) & ~pl.col("acted"),
        0.001,
        found=pl.col("open"),
        expected=pl.col("close_before"),
    ),
    Rule(
        "split_absent",
        "warn",
        "Does each declared split show in the price (or was it applied twice, or before)?",
        (ln(pl.col("open") / pl.col("close_before") / pl.col("split_ratio")).abs() > _SPLIT / 2) & (_SPLIT > 0.2),
        0.0005,
        found=pl.col("open"),
        expected=pl.col("close_before") * pl.col("split_ratio"),
    ),
    Rule(
        "gaps", "warn", "Do few listed names that traded in the session before have no bar?", pl.col("gap_share"), 0.02
    ),
    Rule("universe_coverage", "block", "Do the members of every universe have bars?", pl.col("uncovered_share"), 0.2),
    Rule(
        "dividend",
        "warn",
        "Is no dividend larger than a quarter of the price it is paid on?",
        pl.col("dividend") > 0.25 * pl.col("close_before"),
        0.0005,
        found=pl.col("dividend"),
        expected=pl.col("close_before"),
    ),
)


GAP = Rule(
    "gaps",
    "warn",
    "Why has a listed name that traded in the session before no bar?",
    pl.col("sid").is_not_null(),
    expected=pl.col("close"),
)


def session_hash(bars_in_force_of_session: pl.DataFrame) -> str:
    """Identifies what is judged and traded on: the bars of one session, whatever file brought them and when."""
    return frame_hash(bars_in_force_of_session.sort("sid").select(JUDGED))


def agreement(vendor: Vendor) -> Rule:
    """The rule that few closes of a session may differ from those of another vendor."""
    return Rule(
        f"agrees_with_{vendor.name}",
        "block",
        f"Do few closes differ from those of {vendor.name}?",
        pl.col(f"apart_{vendor.name}"),
        1.0 if vendor.block_above is None else vendor.block_above,
    )


def _beside(rows: pl.DataFrame, found: pl.DataFrame, vendors: Sequence[Vendor]) -> pl.DataFrame:
    """`rows` with the share of closes of the session that differ from those of each vendor."""
    closes = found["row"]
    apart = {v.name: closes.str.contains(f'"vendor":"{v.name}"', literal=True).sum() for v in vendors}
    return rows.with_columns(pl.lit(n / max(1, rows.height)).alias(f"apart_{name}") for name, n in apart.items())


def write_verdicts(
    store: Store,
    cuts: Cuts,
    sessions: Sequence[date],
    rules: Sequence[Rule] = RULES,
    vendors: Sequence[Vendor] = (),
) -> StageReport:
    """Judge each session's bars as known at its cut and write the verdicts; of `vendors` with a limit also how many
    closes differ from theirs.

    The report is `refused` where a blocking rule failed in any of them.
    """
    asked = sorted(sessions)
    limited = [v for v in vendors if v.block_above is not None]
    rules = [*rules, *map(agreement, limited)]
    judged: list[pl.DataFrame] = []
    found: list[pl.DataFrame] = []
    notes: list[str] = []
    for part in partitions(store, cuts, asked):
        session, rows = part.session, part.rows
        if limited:
            theirs = {"table": BARS.name, "rule": "vendor_close"}
            apart = store.read(DATA_FINDINGS, as_of=cuts.of(session), first=session, last=session, where=theirs)
            rows = _beside(rows, apart, limited)
        seen = measured(rows, rules)
        said = verdict(session, rows, cuts, rules, seen)
        failed = said.filter((pl.col("severity") == "block") & ~pl.col("passed"))["rule"].to_list()
        if failed:
            notes.append(f"{session}: {', '.join(failed)}")
        judged.append(said)
        whole = said.filter(pl.col("rule").is_in(["captured", "coverage"]))[
            "passed"
        ].all()  # of a missing or thin session only that verdict is reported
        found += [
            findings(BARS, rows, rules, cuts.of(session), seen),
            findings(BARS, part.absent if whole else part.absent.clear(), (GAP,), cuts.of(session)),
        ]
    frame = pl.concat([VERDICTS.empty(), *judged])
    store.append(DATA_FINDINGS, pl.concat([DATA_FINDINGS.empty(), *found]))
    written = store.append(VERDICTS, frame)
    warnings = frame.filter((pl.col("severity") == "warn") & ~pl.col("passed")).height
    numbers = {
        "sessions": float(len(asked)),
        "blocked": float(len(notes)),
        "warnings": float(warnings),
        "findings": float(sum(f.height for f in found)),
    }
    first, last = (asked[0], asked[-1]) if asked else (date.min, date.min)
    state = "refused" if notes else "done" if asked else "empty"
    return StageReport(
        stage="quality",
        first=first,
        last=last,
        state=state,
        reason=f"{len(notes)} session(s) blocked" if notes else "",
        rows=written,
        numbers=numbers,
        notes=tuple(notes),
    )


def verdict(
    session: date, rows: pl.DataFrame, cuts: Cuts, rules: Sequence[Rule] = RULES, judged: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rows of VERDICTS for one partition. Rows that are not there fail every rule. `judged`: see `verdicts`."""
    return verdicts(
        BARS, rows, rules, session=session, content_hash=session_hash(rows), known_at=cuts.of(session), judged=judged
    )


def released(standing: pl.DataFrame, session: date, content_hash: str) -> tuple[bool, str]:
    """Whether a session's bars with this content may be traded on, and why not: a blocking rule failed, or they have no
    verdict.
    """
    rows = standing.filter(
        (pl.col("table") == BARS.name) & (pl.col("session") == session) & (pl.col("content_hash") == content_hash)
    )
    if rows.is_empty():
        return False, f"no quality verdict on the bars of {session} with content {content_hash[:12]}"
    failed = rows.filter((pl.col("severity") == "block") & ~pl.col("passed")).sort("rule")
    return (False, "; ".join(failed["message"].to_list())) if failed.height else (True, "")


def judge_sessions(
    store: Store,
    cuts: Cuts,
    sessions: Sequence[date],
    vendors: Sequence[Vendor] = (),
    rules: Sequence[Rule] = RULES,
) -> Iterator[StageReport]:
    """Judge the bars of each session by the quality rules, and by other vendors where that is declared, and store the
    verdicts.
    """
    yield write_verdicts(store, cuts, sessions, rules, vendors=vendors)


def judge_untraded(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    sessions: Sequence[date],
    vendors: Sequence[Vendor] = (),
    rules: Sequence[Rule] = RULES,
) -> Iterator[StageReport]:
    """The same of a market on which nothing is decided. Its cut counts as read, as a decision would have read it: what
    arrives behind it is known later.
    """
    knowledge.note_cut(cuts.of(max(sessions)))
    yield write_verdicts(store, cuts, sessions, rules, vendors=vendors)
