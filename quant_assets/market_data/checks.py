"""The stored verdicts as checks of `bars`: Dagster displays them, it does not decide by them; and the Great Expectations suite with its data docs."""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from quant_assets.market_data.calendars import Cuts
from quant_assets.market_data.partitions import partitions
from quant_assets.market_data.quality import RULES
from quant_assets.ports import Store
from quant_assets.tables import BARS, VERDICTS


def _sessions(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The sessions of the run: one, or the ends of its range."""
    tags = context.run.tags
    keys = [tags.get(f"dagster/{k}") for k in ("partition", "asset_partition_range_start", "asset_partition_range_end")]
    return sorted({date.fromisoformat(k) for k in keys if k})


def build(docs: Path) -> Sequence[dg.AssetChecksDefinition]:
    """One check for each quality rule, and one for the Great Expectations suite made from the same rules; data docs go to `docs`."""
    specs = [dg.AssetCheckSpec(rule.name, asset="bars", description=rule.question, additional_deps=["verdicts"]) for rule in RULES]

    @dg.multi_asset_check(name="quality", specs=specs)
    def quality(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterable[dg.AssetCheckResult]:
        asked = _sessions(context)
        stored = store.read(VERDICTS, as_of=None, first=asked[0], last=asked[-1], where={"table": "bars"})
        for rule in RULES:
            of_rule = stored.filter(pl.col("rule") == rule.name)
            failed = of_rule.filter(~pl.col("passed"))
            severity = dg.AssetCheckSeverity.ERROR if rule.severity == "block" else dg.AssetCheckSeverity.WARN
            metadata = {"sessions": of_rule.height, "failed": failed.height, "first_failures": "; ".join(f"{s}: {m}" for s, m in failed.select("session", "message").head(5).iter_rows())}
            yield dg.AssetCheckResult(check_name=rule.name, asset_key="bars", passed=of_rule.height > 0 and failed.is_empty(), severity=severity, metadata=metadata)

    @dg.asset_check(asset="bars", name="great_expectations", additional_deps=["verdicts"], description="Does the last session meet the suite that is made from the same rules?")
    def great_expectations(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]) -> dg.AssetCheckResult:
        from quant_assets.market_data.expectations import data_docs

        asked = _sessions(context) or store.read(BARS, as_of=None)["session"].unique().sort().to_list()
        (part,) = partitions(store, cuts, asked[-1:])
        page, passed = data_docs(docs, part.rows, part.session)
        return dg.AssetCheckResult(passed=all(passed.values()), severity=dg.AssetCheckSeverity.WARN, metadata={"data_docs": dg.MetadataValue.path(str(page)), "session": part.session.isoformat()})

    return [quality, great_expectations]
