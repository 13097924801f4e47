"""Whether a session's bars may be traded on: rules declared once, evaluated here in Polars, and by Great Expectations in `expectations`.

Verdicts are rows, filed under the hash of the very content they judged. No row means no.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quant_assets.contract import in_force, known_by
from quant_assets.market_data.calendars import Cuts
from quant_assets.ports import Store
from quant_assets.records import StageReport, frame_hash
from quant_assets.tables import ACTIONS, BARS, CAPTURES, QUARANTINE, VERDICTS

HISTORY = 20  # sessions that say how many rows are normal
JUDGED = ("session", "sid", "symbol", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Rule:
    """`measure` is an expression over a partition (see `partition`); its mean over the rows must not pass `threshold`: stay at or above it where `at_least`, else at or below."""

    name: str
    severity: str  # block | warn
    question: str
    measure: pl.Expr
    threshold: float
    at_least: bool = False

    def passes(self, value: float | None) -> bool:
        """Whether the value found is good enough; none found is not."""
        return value is not None and (value >= self.threshold if self.at_least else value <= self.threshold)


_RETURN = pl.col("close") / pl.col("close_before") - 1

RULES = (
    Rule("captured", "block", "Has the session's own capture arrived by the cut?", pl.col("captured").cast(pl.Float64), 1.0, at_least=True),
    Rule("coverage", "block", "Are there about as many rows as in the sessions before?", pl.len() / pl.col("usual_rows"), 0.8, at_least=True),
    Rule("quarantined", "block", "Was only a small part of the capture sent to quarantine?", pl.col("quarantined_share"), 0.05),
    Rule(
        "ohlc_valid", "block", "Are prices positive, high the highest and low the lowest?",
        ((pl.min_horizontal(PRICES) > 0) & (pl.col("high") == pl.max_horizontal(PRICES)) & (pl.col("low") == pl.min_horizontal(PRICES))).cast(pl.Float64), 1.0, at_least=True,
    ),
    Rule("no_duplicates", "block", "Does each instrument have one row, each symbol one instrument?", (pl.col("sid").is_duplicated() | pl.col("symbol").is_duplicated()).cast(pl.Float64), 0.0),
    Rule("zero_volume", "warn", "Do few rows have no volume (placeholders, halts)?", (pl.col("volume") == 0).cast(pl.Float64), 0.02),
    Rule(
        "stale", "block", "Do few rows repeat the session before, price for price?",
        pl.all_horizontal(pl.col(c) == pl.col(f"{c}_before") for c in PRICES).fill_null(value=False).cast(pl.Float64), 0.1,
    ),
    Rule("outliers", "warn", "Do few names move by more than half without a corporate action?", ((_RETURN.abs() > 0.5) & ~pl.col("acted")).fill_null(value=False).cast(pl.Float64), 0.005),
)  # fmt: skip


def session_hash(bars_in_force_of_session: pl.DataFrame) -> str:
    """Identifies what is judged and traded on: the bars of one session, whatever file brought them and when."""
    return frame_hash(bars_in_force_of_session.sort("sid").select(JUDGED))


def gate(store: Store, cuts: Cuts, sessions: Sequence[date], rules: Sequence[Rule] = RULES) -> StageReport:
    """Judge each session's bars as known at its cut and write the verdicts. The report is `refused` where a blocking rule failed in any of them."""
    asked = sorted(sessions)
    verdicts: list[pl.DataFrame] = []
    notes: list[str] = []
    for session, rows in partitions(store, cuts, asked):
        judged = verdict(session, rows, cuts, rules)
        failed = judged.filter((pl.col("severity") == "block") & ~pl.col("passed"))["rule"].to_list()
        if failed:
            notes.append(f"{session}: {', '.join(failed)}")
        verdicts.append(judged)
    frame = pl.concat([VERDICTS.empty(), *verdicts])
    written = store.append(VERDICTS, frame)
    numbers = {"sessions": float(len(asked)), "blocked": float(len(notes)), "warnings": float(frame.filter((pl.col("severity") == "warn") & ~pl.col("passed")).height)}
    first, last = (asked[0], asked[-1]) if asked else (date.min, date.min)
    state = "refused" if notes else "done" if asked else "empty"
    return StageReport(stage="quality", first=first, last=last, state=state, reason=f"{len(notes)} session(s) blocked" if notes else "", rows=written, numbers=numbers, notes=tuple(notes))


def verdict(session: date, rows: pl.DataFrame, cuts: Cuts, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """Rows of VERDICTS for one partition. Rows that are not there fail every rule."""
    found: dict[str, float | None] = rows.select(rule.measure.mean().alias(rule.name) for rule in rules).row(0, named=True) if rows.height else dict.fromkeys((r.name for r in rules), None)
    said = [
        {
            "rule": r.name, "severity": r.severity, "passed": r.passes(found[r.name]), "value": found[r.name], "threshold": r.threshold,
            "message": f"{r.question} {'no rows' if rows.is_empty() else _number(found[r.name])} ({'at least' if r.at_least else 'at most'} {r.threshold:g})",
        }
        for r in rules
    ]  # fmt: skip
    fixed = {"session": session, "table": BARS.name, "content_hash": session_hash(rows), "known_at": cuts.of(session)}
    schema = {c: VERDICTS.schema[c] for c in ("rule", "severity", "passed", "value", "threshold", "message")}
    return pl.DataFrame(said, schema=schema).with_columns(**{k: pl.lit(v) for k, v in fixed.items()}).select(pl.col(c).cast(t) for c, t in VERDICTS.schema.items())


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def partitions(store: Store, cuts: Cuts, sessions: Sequence[date]) -> Iterator[tuple[date, pl.DataFrame]]:
    """What the rules look at, session by session, as known at each session's cut.

    Columns: `JUDGED`, open_before … close_before (the session before), acted (a corporate action is known for it), captured,
    usual_rows (median row count of the sessions before, each as known at its own cut; its own where there are none), quarantined_share.
    """
    if not sessions:
        return
    calendar = cuts.calendar
    start = calendar.shift(min(sessions), -HISTORY - 1)
    latest = cuts.of(max(sessions))
    bars = store.read(BARS, as_of=latest, first=start, last=max(sessions)).partition_by("session", as_dict=True)
    known = {s: in_force(known_by(bars.get((s,), BARS.empty()), cuts.of(s)), BARS) for s in calendar.between(start, max(sessions))}
    actions, captures, quarantine = (store.read(t, as_of=latest, first=start, last=max(sessions)) for t in (ACTIONS, CAPTURES, QUARANTINE))
    for session in sessions:
        cut, before = cuts.of(session), calendar.shift(session, -1)
        was = in_force(known_by(bars.get((before,), BARS.empty()), cut), BARS).select("sid", *(pl.col(c).alias(f"{c}_before") for c in PRICES))
        acted = in_force(known_by(actions.filter(pl.col("session") == session), cut), ACTIONS)["sid"]
        counts = [n for s in calendar.between(calendar.shift(session, -HISTORY), before) if (n := known[s].height)]
        came = known_by(captures.filter((pl.col("capture") == session) & (pl.col("dataset") == BARS.name)), cut)
        refused = in_force(known_by(quarantine.filter((pl.col("capture") == session) & (pl.col("dataset") == BARS.name)), cut), QUARANTINE).height
        rows = known[session].select(JUDGED).join(was, on="sid", how="left", maintain_order="left")
        usual = float(pl.Series(counts, dtype=pl.Float64).median() or 0) if counts else float(rows.height)  # pyright: ignore[reportArgumentType]  # a median of floats
        yield (
            session,
            rows.with_columns(
                acted=pl.col("sid").is_in(acted.implode()), captured=pl.lit(value=came.height > 0), usual_rows=pl.lit(usual), quarantined_share=pl.lit(refused / max(1, int(came["rows"].sum())))
            ),
        )


def released(verdicts: pl.DataFrame, session: date, content_hash: str) -> tuple[bool, str]:
    """Whether a session's bars with this content may be traded on, and why not: a blocking rule failed, or nobody judged them."""
    rows = verdicts.filter((pl.col("table") == BARS.name) & (pl.col("session") == session) & (pl.col("content_hash") == content_hash))
    if rows.is_empty():
        return False, f"no quality verdict on the bars of {session} with content {content_hash[:12]}"
    failed = rows.filter((pl.col("severity") == "block") & ~pl.col("passed")).sort("rule")
    return (False, "; ".join(failed["message"].to_list())) if failed.height else (True, "")
