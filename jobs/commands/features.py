"""`quant try` and `quant init`: a feature of your own, tried before anything is deployed, and a package for many of
them.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, From, To, workspace

if TYPE_CHECKING:
    from desk.workspace import Workspace
    from quant_assets.features.sets import FeatureSet
    from quant_assets.features.trial import Trial
    from quant_assets.ports import Progress

CLOSEST = 5  # published features that are shown
LONGEST = 504  # sessions that are tried where no range is named: two years


def trial(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME", help="A file with @feature over a function of columns, and the function's name."
        ),
    ],
    first: From = None,
    last: To = None,
    universe: Annotated[
        str | None, typer.Option("--universe", help="Whose members; default the first strategy's.")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Write the explorer's page too: quantile returns, decay, turnover, drift.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try a feature before you deploy it: look-ahead, coverage, IC, and what it repeats.

    It runs over the market stored in this home (two years of it, or --from, --to), or over a small simulated one. It
    writes nothing but the page. Exit codes: 0 free of look-ahead, 1 refused, with the column, session and instrument.

    Three lines of my.py are a feature: [bold]@feature(lookback=20)[/], [bold]def month(close):[/] with a docstring,
    and [bold]return close / close.shift(20) - 1[/].
    """
    from desk.packages import feature_set_in
    from jobs.console import escape, progress, say
    from quant_assets.errors import ConfigurationError
    from quant_assets.features.audit.audit import audit
    from quant_assets.features.catalogue import find_sets
    from quant_assets.features.sets import DAILY
    from quant_assets.features.trial import try_out

    ws = workspace()
    tried = feature_set_in(target)
    if tried.frequency != DAILY:
        raise ConfigurationError(
            f"{tried.name} has a value for each bar of {tried.frequency}; what is tried has one for each session"
        )
    with progress() as tick:
        ws, note = _with_data(ws, tick)
        ws = ws.lane_drawing(universe) if universe else ws.lanes[0]
        among, sessions = _asked(ws, tried, universe, first, last)
        audits = audit(ws.store, tried, among, ws.cuts, sessions, now=datetime.now(UTC), progress=tick)
        others = [s for s in find_sets().values() if s.frequency == DAILY]
        found = try_out(ws.store, tried, among, ws.cuts, sessions, audits, others, tick)
    written = _page(ws, found) if page else None
    if as_json:
        _document(found, note, written)
    else:
        _told(found, note)
        if written:
            say(escape(str(written)))
    raise typer.Exit(0 if found.fine else 1)


def init(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The package's name, such as myfund.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where it is written; default a folder of its name.")
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Daily prices of yours: a file, a folder or a glob; no package."),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What a file does not decide: mapping.session.format=%d/%m/%Y"),
    ] = None,
) -> None:
    """Write a package of your own, or with --csv a deployment for a file of daily prices.

    A package has a feature of ten lines, a deployment on a simulated market, tests of the laws, and a code location for
    a shared Dagster. A deployment for a file has its columns, its calendar, a strategy of its size and two books; what
    the file does not decide is asked for. No file is overwritten.
    """
    if csv is not None and name is None:
        from jobs.commands.own_file import deployment_for

        deployment_for(csv, answers or [])
        return
    if name is None or csv is not None or answers:
        raise typer.BadParameter("give a package's name, or --csv FILE (and --set KEY=VALUE) for a file of prices")
    from desk.packages import write_package
    from jobs.console import escape, say

    where = folder or Path(name)
    for path in write_package(name, where):
        say(f"[dim]{escape(str(path))}[/]")
    say("Next:")
    say(
        f"  [bold]cd {escape(str(where))} && quant try {name}/features.py:gap_20[/]  [dim]does it look ahead, "
        "what does it foretell?[/]"
    )
    say("  [bold]quant backfill[/]  [dim]history, features, models and a research book, as deployment.yaml says[/]")
    say("  [bold]quant ui[/]  [dim]its asset graph and its day[/]")


def _with_data(ws: "Workspace", tick: "Progress") -> "tuple[Workspace, str]":
    """The workspace, or where it holds no market the small simulated one; and what to say of that."""
    from desk.trial_market import trial_market
    from quant_assets.tables import BARS

    if ws.store.version(BARS) >= 0:
        return ws, ws.notice
    small = trial_market(ws.home, tick)
    note = (
        f"{ws.home} holds no market yet (quant ingest takes one in, quant demo simulates one): tried on a small "
        f"simulated market, kept in {small.home}."
    )
    return small, note


def _asked(
    ws: "Workspace", tried: "FeatureSet", universe: str | None, first: date | None, last: date | None
) -> tuple[str, list[date]]:
    """The universe and the stored sessions on which to try. Raises ConfigurationError where there are none."""
    import polars as pl

    from quant_assets.errors import ConfigurationError
    from quant_assets.tables import BARS, UNIVERSE

    stored = ws.store.read(BARS, as_of=None, columns=())["session"].unique().sort()
    drawn = (
        ws.store.read(UNIVERSE, as_of=ws.cuts.of(stored[-1]), columns=())["universe"].unique().sort().to_list()
        if len(stored)
        else []
    )
    among = universe or ws.deployment.strategies[0].universe.name
    if among not in drawn:
        raise ConfigurationError(
            f"no universe {among!r} is drawn here; there are {drawn}"
            if drawn
            else "no universe is drawn here yet; `quant backfill` draws it"
        )
    enough = stored.slice(tried.lookback)  # before, its windows are not full
    asked = (
        enough.filter(enough.is_between(first or date.min, last or date.max)) if first or last else enough.tail(LONGEST)
    )
    if asked.is_empty():
        there = f"bars of {stored[0]} to {stored[-1]}, {len(stored)} sessions"
        raise ConfigurationError(
            f"{tried.name} looks back {tried.lookback} sessions and nothing can be tried on "
            f"{first or 'the first'} to {last or 'the last'}: there are {there}"
        )
    return among, pl.Series(asked).to_list()


def _page(ws: "Workspace", found: "Trial") -> Path:
    """The explorer's page, in the home's reports."""
    from quant_assets.features.explorer.page import Heading, write

    heading = Heading(
        universe=found.universe,
        cut=ws.cuts.of(found.sessions[-1]),
        audit=found.outcome,
        audit_passed=found.refused.is_empty(),
        notice=ws.notice,
    )
    return write(found.measures, ws.reports / f"try_{found.feature_set.name}.html", heading=heading)


def _document(found: "Trial", note: str, written: Path | None) -> None:
    """All of it, to a script."""
    import sys

    import msgspec

    frames = {
        "audits": found.audits,
        "summary": found.measures.summary,
        "decay": found.measures.decay,
        "correlation": found.correlation,
    }
    said = {
        "feature_set": found.feature_set.name,
        "version": found.feature_set.version,
        "universe": found.universe,
        "first": found.sessions[0],
        "last": found.sessions[-1],
        "sessions": len(found.sessions),
        "fine": found.fine,
        "verdict": found.outcome,
        "note": note,
        "page": str(written) if written else None,
    }
    sys.stdout.write(
        msgspec.json.encode(said | {name: rows.to_dicts() for name, rows in frames.items()}, enc_hook=str).decode()
        + "\n"
    )


def _told(found: "Trial", note: str) -> None:
    """What a person reads: the laws, what it covers, how its values lie, what it foretells, what it repeats, the
    verdict.
    """
    import polars as pl

    from jobs.console import escape, frame, say

    one = found.feature_set
    say(f"[bold]{escape(one.name)}[/] {escape(one.version)}: {escape(one.doc)}")
    say(
        f"{len(found.sessions)} sessions, {found.sessions[0]} to {found.sessions[-1]}, members of "
        f"{escape(found.universe)}."
    )
    if note:
        say(f"[yellow]{escape(note)}[/]")
    digits = pl.selectors.float().round_sig_figs(3)
    of_one = pl.exclude("feature") if len(one.features) == 1 else pl.all()
    levels = found.measures.daily.group_by("feature", maintain_order=True).agg(pl.col("^p[0-9]+$").median())
    frame(
        found.audits.select(
            "law", pl.when("passed").then(pl.lit("kept")).otherwise(pl.lit("BROKEN")).alias("state"), "cuts", "cells"
        ),
        "table",
        title="laws",
    )
    frame(levels.with_columns(digits).select(of_one), "table", title="values: quantiles in the median session")
    frame(
        found.measures.summary.select(
            "feature", "coverage", autocorrelation="rank_autocorrelation", turnover="turnover"
        )
        .with_columns(digits)
        .select(of_one),
        "table",
        title="coverage; from one session to the next, rank autocorrelation and turnover of the outer fifths",
    )
    frame(
        found.measures.decay.select("feature", "horizon", ic="mean", error="error", t="t", above_0="hit", sessions="n")
        .with_columns(digits)
        .select(of_one),
        "table",
        title="rank IC by horizon in sessions, errors by Newey and West",
    )
    if found.correlation.height:
        frame(
            found.correlation.head(CLOSEST).with_columns(digits),
            "table",
            title="the published features most like it, by rank",
        )
    say(f"[bold {'green' if found.fine else 'red'}]{escape(found.outcome)}[/]")
