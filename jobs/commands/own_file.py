"""`quant init --csv`: a deployment for files of one's own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desk.begin import Draft


def deployment_for(where: str, written: Sequence[str]) -> None:
    """Write the deployment of the files beside the home, or into it; show what was found and what comes next.

    Raises ConfigurationError where the home has a deployment or data already, or the files leave something open.
    """
    from desk.begin import first_deployment
    from desk.begin.answers import pairs
    from desk.home import home
    from jobs.console import escape, say, working

    path = _free(home())
    with working("reading the files"):
        draft = first_deployment(where, pairs(written))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draft.text)
    _shown(draft)
    say(f"Written: [bold]{escape(str(path))}[/]. Read its comments: what is assumed is named there.")
    say("Next:")
    say("  [bold]quant backtest[/]  [dim]history, features, models, decisions, a research book, and its report[/]")


def _free(home: Path) -> Path:
    """Where the deployment goes: beside a home named .quant, else into it. Raises ConfigurationError."""
    from desk.ledger import TABLES
    from desk.workspace import own_deployment
    from quant_assets.errors import ConfigurationError

    elsewhere = "; choose another home: QUANT_HOME=FOLDER quant init --csv FILE"
    if named := os.environ.get("QUANT_DEPLOYMENT"):
        raise ConfigurationError(f"QUANT_DEPLOYMENT names {named}, which would be read instead; unset it first")
    if there := own_deployment(home):
        raise ConfigurationError(f"{there} is there already and is not overwritten{elsewhere}")
    if (home / TABLES).exists():
        raise ConfigurationError(f"{home} holds the data of another deployment{elsewhere}")
    return (home.parent if home.name == ".quant" else home) / "deployment.yaml"


def _shown(draft: "Draft") -> None:
    """What was found, what was left out, and what keeps a strategy from trading."""
    from jobs.console import escape, say, table
    from resources.sources.preview import shapes

    found, fit, sized = draft.preview, draft.fit, draft.sizes
    say(f"[bold]{escape(found.files[0])}[/]" + (f" and {len(found.files) - 1:,} more" if len(found.files) > 1 else ""))
    table(shapes(found))
    say(
        f"{sized.names:,} names, {sized.sessions:,} sessions from {fit.first} to {fit.last} on the calendar "
        f"{escape(fit.code)}; [green]{found.kept:,} rows are kept[/], {found.rows - found.kept:,} quarantined."
    )
    for why in found.refused:
        say(f"  {why.rows:8,}  {escape(why.reason)} (first at {escape(why.first)})")
    if fit.outside:
        say(f"{len(fit.outside):,} days are no sessions of {escape(fit.code)}, the first {fit.outside[0]}.")
    if fit.alike:
        say(
            f"[yellow]?[/] {escape(', '.join(fit.alike))} would fit the days as well: --set calendar=CODE names another"
        )
    for note in found.ambiguous:
        say(f"[yellow]?[/] {escape(note)}")
    if sized.why:
        say(f"[yellow]No trade can come of these files: {escape(sized.why)}.[/]")
    elif sized.first_model:
        say(f"The first model is cut after {sized.first_model}; {sized.live} sessions are left to be run day by day.")
