"""The stored verdicts as checks: Dagster displays them, it does not decide by them; and the Great Expectations
suites with their data docs.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.characters import markdown
from quant_assets.contract import in_force
from quant_assets.market_data.datasets import Dataset
from quant_assets.market_data.observations import judged
from quant_assets.market_data.partitions import partitions
from quant_assets.market_data.quality import RULES
from quant_assets.market_data.rules import Rule
from quant_assets.ports import Store
from quant_assets.tables import BARS, DATA_FINDINGS, VERDICTS

SHOWN = 20  # findings of a rule in the UI


def _sessions(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The sessions of the run: one, or the ends of its range."""
    tags = context.run.tags
    keys = [tags.get(f"dagster/{k}") for k in ("partition", "asset_partition_range_start", "asset_partition_range_end")]
    return sorted({date.fromisoformat(k) for k in keys if k})


def build(docs: Path, fed: Sequence[Dataset] = (), rules: Sequence[Rule] = RULES) -> Sequence[dg.AssetChecksDefinition]:
    """One check for each of the `rules` of the bars and of each dataset that a feed brings, and one for the Great
    Expectations suite made from the same rules; data docs go to `docs`.
    """
    of_datasets = [
        c
        for d in fed
        if (own := d.judging)
        for c in (_verdicts(d.name, own, after=d.name, required=False), _dataset_suite(d, own, docs))
    ]
    return [_verdicts("bars", rules, after="verdicts", required=True), _bars_suite(rules, docs), *of_datasets]


def _verdicts(table: str, rules: Sequence[Rule], *, after: str, required: bool) -> dg.AssetChecksDefinition:
    """What the stored verdicts say. `required`: a session that nobody judged has failed; a dataset may have nothing
    new.
    """
    specs = [
        dg.AssetCheckSpec(
            rule.name, asset=table, description=rule.question, additional_deps=[after] if after != table else None
        )
        for rule in rules
    ]

    @dg.multi_asset_check(name="quality" if required else f"{table}_quality", specs=specs)
    def quality(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]
    ) -> Iterable[dg.AssetCheckResult]:
        asked = _sessions(context)
        stored = store.read(VERDICTS, as_of=None, first=asked[0], last=asked[-1], where={"table": table})
        found = in_force(
            store.read(DATA_FINDINGS, as_of=None, first=asked[0], last=asked[-1], where={"table": table}), DATA_FINDINGS
        )
        for rule in rules:
            of_rule = stored.filter(pl.col("rule") == rule.name)
            failed = of_rule.filter(~pl.col("passed"))
            rows = found.filter(pl.col("rule") == rule.name)
            metadata = {
                "sessions": of_rule.height,
                "failed": failed.height,
                "findings": rows.height,
                "first_failures": "; ".join(
                    f"{s}: {m}" for s, m in failed.select("session", "message").head(5).iter_rows()
                ),
                **({"rows": dg.MetadataValue.md(_shown(rows))} if rows.height else {}),
            }
            severity = dg.AssetCheckSeverity.ERROR if rule.severity == "block" else dg.AssetCheckSeverity.WARN
            passed = failed.is_empty() and (of_rule.height > 0 or not required)
            yield dg.AssetCheckResult(check_name=rule.name, passed=passed, severity=severity, metadata=metadata)

    return quality


def _shown(rows: pl.DataFrame) -> str:
    """The first findings as a table."""
    columns = ("session", "symbol", "found", "expected", "row")
    lines = [
        "| " + " | ".join("" if v is None else markdown(str(v)) for v in row) + " |"
        for row in rows.select(columns).head(SHOWN).iter_rows()
    ]
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *lines])


def _bars_suite(rules: Sequence[Rule], docs: Path) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset="bars",
        name="great_expectations",
        additional_deps=["verdicts"],
        description="Does the last session meet the suite that is made from the same rules?",
    )
    def great_expectations(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]
    ) -> dg.AssetCheckResult:
        asked = _sessions(context) or store.read(BARS, as_of=None)["session"].unique().sort().to_list()
        (part,) = partitions(store, cuts, asked[-1:])
        return _suite("bars", part.rows, rules, part.session, docs)

    return great_expectations


def _dataset_suite(dataset: Dataset, rules: Sequence[Rule], docs: Path) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset.name,
        name="great_expectations",
        description="Do the rows of the last day meet the suite that is made from the same rules?",
    )
    def great_expectations(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]
    ) -> dg.AssetCheckResult:
        asked = _sessions(context)
        days = store.read(dataset.table, as_of=None, last=asked[-1] if asked else None)[dataset.table.event].cast(
            pl.Date
        )
        last = days.max()
        if not isinstance(last, date):
            return dg.AssetCheckResult(passed=True, severity=dg.AssetCheckSeverity.WARN, metadata={"rows": 0})
        return _suite(dataset.name, judged(dataset, store, last), rules, last, docs)

    return great_expectations


def _suite(name: str, rows: pl.DataFrame, rules: Sequence[Rule], day: date, docs: Path) -> dg.AssetCheckResult:
    from quant_assets.market_data.expectations import data_docs

    page, passed = data_docs(docs, rows, day, rules, name=name)
    return dg.AssetCheckResult(
        passed=all(passed.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"data_docs": dg.MetadataValue.path(str(page)), "session": day.isoformat(), "rows": rows.height},
    )
