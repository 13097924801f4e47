"""The quality rules as a Great Expectations suite, with its data docs: the same measures on the same partition, judged
a second time.

It is not on the daily path: the stored verdicts decide what may be traded on.
"""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from quant_assets.market_data.quality import RULES
from quant_assets.market_data.rules import Rule, measured

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext

SITE = "local"


def validate(frame: pl.DataFrame, rules: Sequence[Rule] = RULES) -> dict[str, bool]:
    """Whether each rule holds on a partition of `partitions`, by the suite. Nothing is written."""
    return _run(_context(None), frame, rules, name="bars", when=None)


def data_docs(
    folder: Path, frame: pl.DataFrame, session: date, rules: Sequence[Rule] = RULES, *, name: str = "bars"
) -> tuple[Path, dict[str, bool]]:
    """Validate one session's rows of the dataset `name` (see `partitions`, `observations.judged`) and build the static
    pages under `folder`; the index page, and whether each rule holds.

    The pages of sessions validated into the same folder before stay.
    """
    context = _context(folder)
    found = _run(context, frame, rules, name=name, when=session)
    context.build_data_docs(site_names=[SITE])
    return folder / "index.html", found


def _context(folder: Path | None) -> "AbstractDataContext":
    """A context that is silent, sends nothing anywhere, and keeps what `folder` is to show in it."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at the first import
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    if folder is not None:
        backend = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.absolute() / ".validations"),
            "filepath_suffix": ".json",
        }
        config.stores[config.validation_results_store_name] = {
            "class_name": "ValidationResultsStore",
            "store_backend": backend,
        }
        site = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.absolute())}
        config.data_docs_sites = {
            SITE: {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": site,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        }
    return gx.get_context(project_config=config, mode="ephemeral")


def _run(
    context: "AbstractDataContext", frame: pl.DataFrame, rules: Sequence[Rule], *, name: str, when: date | None
) -> dict[str, bool]:
    import great_expectations as gx
    from great_expectations.expectations.core.expect_column_mean_to_be_between import ExpectColumnMeanToBeBetween

    def expected(rule: Rule) -> ExpectColumnMeanToBeBetween:
        low, high = (rule.threshold, None) if rule.at_least else (None, rule.threshold)
        return ExpectColumnMeanToBeBetween(
            column=rule.name, min_value=low, max_value=high, notes=rule.question, meta={"severity": rule.severity}
        )

    expectations = [expected(r) for r in rules]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    shares = (
        measured(frame, rules).cast(pl.Float64)
        if frame.height
        else pl.DataFrame(schema={r.name: pl.Float64 for r in rules})
    )
    run: dict[str, Any] = {}
    if when is not None:
        run["run_id"] = gx.RunIdentifier(run_name=str(when), run_time=datetime.combine(when, datetime.min.time(), UTC))
    result = definition.run(
        batch_parameters={"dataframe": shares.to_pandas(use_pyarrow_extension_array=True)},
        result_format="SUMMARY",
        **run,
    )
    return {
        str(r.expectation_config.kwargs["column"]): bool(r.success)
        for r in result.results
        if r.expectation_config is not None
    }
