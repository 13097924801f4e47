"""A package's research as a code location beside others in one Dagster: the same assets, checks and jobs, each key
under the package's name.

What sends, and what starts it by itself, stays in the package's own instance (`quant ui` in its folder): started
from two
places it would run twice. See docs/decisions/012-own-packages.md.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from desk.workspace import Workspace
from jobs.definitions import build
from quant_assets.backtest.assets import history_key
from quant_assets.features.catalogue import SETS, find_sets

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

SENDS_NOTHING = ("backfill",)


def beside(ws: Workspace, name: str) -> dg.Definitions:
    """The assets of the jobs that send nothing, those of the package's own feature sets and what is made of these
    alone, with their checks; these jobs, and `features` for the package's sets.
    """
    whole = build(ws)
    repository = whole.get_repository_def()
    under = {key: key.with_prefix(name) for key in repository.asset_graph.get_all_asset_keys()}
    graphs = {job: repository.get_job(job).asset_layer.asset_graph for job in SENDS_NOTHING}
    own = _own_sets() & repository.asset_graph.materializable_asset_keys
    of_own = {key for key in under if (read := repository.asset_graph.get(key).parent_keys) and read <= own}
    shown = own.union(of_own, *(g.executable_asset_keys for g in graphs.values()))

    def job(
        called: str, keys: Iterable[dg.AssetKey], checks: Iterable[dg.AssetCheckKey], description: str | None
    ) -> "AssetJob":
        selected = dg.AssetSelection.assets(*(under[k] for k in keys)).without_checks()
        asked = dg.AssetSelection.checks(*(c.replace_asset_key(under[c.asset_key]) for c in checks))
        return dg.define_asset_job(
            called, selected | asked, executor_def=dg.in_process_executor, description=description
        )

    return dg.Definitions(
        assets=[
            a.with_attributes(asset_key_replacements=under)
            for a in whole.assets or ()
            if isinstance(a, dg.AssetsDefinition) and a.keys & shown
        ],
        asset_checks=[
            _renamed(c, under) for c in whole.asset_checks or () if {k.asset_key for k in c.check_keys} <= shown
        ],
        jobs=[
            *(
                job(called, g.executable_asset_keys, g.asset_check_keys, repository.get_job(called).description)
                for called, g in graphs.items()
            ),
            job(
                "features",
                own,
                (k for k in repository.asset_graph.asset_check_keys if k.asset_key in own),
                "The feature sets of this package over a range.",
            ),
        ],
        resources=whole.resources,
        executor=whole.executor,
    )


def _own_sets() -> set[dg.AssetKey]:
    """The assets of the sets that do not come with the platform."""
    platforms = {s.name for s in SETS}
    return {history_key(s.table.name) for s in find_sets().values() if s.name not in platforms}


def _renamed(checks: dg.AssetsDefinition, under: Mapping[dg.AssetKey, dg.AssetKey]) -> dg.AssetChecksDefinition:
    """The checks on the assets by their new keys. Renaming makes plain assets of them; Dagster would make them
    checks again, with a warning for each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        return dg.AssetChecksDefinition(**checks.with_attributes(asset_key_replacements=under).get_attributes_dict())
