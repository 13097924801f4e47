"""A quality rule, declared once: judged here in Polars, shown by Great Expectations in `expectations`, stored as
verdicts and findings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quant_assets.contract import Table
from quant_assets.tables import DATA_FINDINGS, VERDICTS

SEVERITIES = ("refuse", "block", "warn")


@dataclass(frozen=True)
class Rule:
    """A question about rows.

    `measure`: an expression over the rows judged. A boolean marks the wrong rows, and its mean is their share; a number
    is used as it is. The mean must not pass `threshold`: stay at or above it if `at_least`, else at or below.
    `severity`: refuse (a wrong row goes to quarantine on arrival), block (the rows may not be traded on), warn.
    `found`, `expected`: the two values that a finding on a wrong row shows.
    """

    name: str
    severity: str
    question: str
    measure: pl.Expr
    threshold: float = 0.0
    at_least: bool = False
    found: pl.Expr | None = None
    expected: pl.Expr | None = None

    def passes(self, value: float | None) -> bool:
        """Whether the value found is good enough; none found is not."""
        return value is not None and (value >= self.threshold if self.at_least else value <= self.threshold)

    def says(self, value: float | None) -> str:
        """The question, the value found and its limit, as one line."""
        return (
            f"{self.question} {'unknown' if value is None else f'{value:.4g}'} "
            f"({'at least' if self.at_least else 'at most'} {self.threshold:g})"
        )

    @property
    def reads(self) -> set[str]:
        """The columns that the rule looks at."""
        return {c for e in (self.measure, self.found, self.expected) if e is not None for c in e.meta.root_names()}


def measured(rows: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """One column for each rule, named after it: its measure of each row.

    A measure that is unknown of a row finds nothing wrong with it.
    """
    shown = rows.select(rule.measure.alias(rule.name) for rule in rules) if rules else pl.DataFrame()
    return shown.with_columns(pl.col(pl.Boolean).fill_null(value=False))


def verdicts(
    table: Table,
    rows: pl.DataFrame,
    rules: Sequence[Rule],
    *,
    session: date,
    content_hash: str,
    known_at: datetime,
    judged: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of VERDICTS: the result of each rule on `rows`. Missing rows fail every rule. `judged`: what `measured` made
    of them, where that is known already.
    """
    shares = (
        (measured(rows, rules) if judged is None else judged)
        .select(pl.all().cast(pl.Float64).mean())
        .row(0, named=True)
        if rows.height and rules
        else dict.fromkeys((r.name for r in rules), None)
    )
    said = [
        {
            "rule": r.name,
            "severity": r.severity,
            "passed": r.passes(shares[r.name]),
            "value": shares[r.name],
            "threshold": r.threshold,
            "message": r.says(shares[r.name]),
        }
        for r in rules
    ]
    fixed = {"session": session, "table": table.name, "content_hash": content_hash, "known_at": known_at}
    schema = {c: VERDICTS.schema[c] for c in ("rule", "severity", "passed", "value", "threshold", "message")}
    return (
        pl.DataFrame(said, schema=schema)
        .with_columns(**{k: pl.lit(v) for k, v in fixed.items()})
        .select(pl.col(c).cast(t) for c, t in VERDICTS.schema.items())
    )


def findings(
    table: Table,
    rows: pl.DataFrame,
    rules: Sequence[Rule],
    known_at: datetime | pl.Expr,
    judged: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of DATA_FINDINGS: one for each row that a rule with a boolean measure calls wrong, with that row's own
    subject. `rows` has the table's event and subject columns. `judged`: what `measured` made of them, where that is
    known already.
    """
    if rows.is_empty():
        return DATA_FINDINGS.empty()
    judged = measured(rows, rules) if judged is None else judged
    known = known_at if isinstance(known_at, pl.Expr) else pl.lit(known_at)
    parts = [DATA_FINDINGS.empty()]
    for rule in (r for r in rules if judged.schema[r.name] == pl.Boolean):
        if not judged[rule.name].any():
            continue
        wrong = rows.filter(judged[rule.name])
        found, expected = (pl.lit(None) if e is None else e for e in (rule.found, rule.expected))
        symbol = pl.col("symbol") if "symbol" in rows.columns else pl.lit(None)
        shown = wrong.select(
            session=pl.col(table.event).cast(pl.Date),
            table=pl.lit(table.name),
            rule=pl.lit(rule.name),
            severity=pl.lit(rule.severity),
            symbol=symbol,
            row=pl.struct(*table.subject).struct.json_encode(),
            found=found,
            expected=expected,
            message=pl.lit(rule.question),
            known_at=known,
        )
        parts.append(shown.select(pl.col(c).cast(t) for c, t in DATA_FINDINGS.schema.items()))
    return pl.concat(parts)
