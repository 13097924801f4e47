"""`quant findings …`: what the rules found on stored rows, and the history examined with hindsight."""

from typing import Annotated

import typer

from jobs.commands.options import AsJson, Day, From, To, acted, producing, workspace

findings_app = typer.Typer(no_args_is_help=True, help="Review stored rows that look wrong.")


@findings_app.command("list")
def findings_list(
    rule: Annotated[str | None, typer.Option("--rule", help="Only of this rule.")] = None,
    table: Annotated[str | None, typer.Option("--table", help="Only of this table.")] = None,
    session: Day = None,
    by_rule: Annotated[bool, typer.Option("--by-rule", help="Count them by table and rule.")] = False,
    limit: int = 50,
    as_json: AsJson = False,
) -> None:
    """What the rules found on single rows, newest first; refused rows are among them."""
    import polars as pl

    from jobs.console import frame
    from quant_assets.contract import in_force
    from quant_assets.tables import DATA_FINDINGS

    where: dict[str, str | int] = {k: v for k, v in {"rule": rule, "table": table}.items() if v}
    rows = in_force(
        workspace().store.read(DATA_FINDINGS, as_of=None, first=session, last=session, where=where), DATA_FINDINGS
    )
    shown = (
        rows.group_by("table", "rule", "severity")
        .agg(rows=pl.len(), first=pl.col("session").min(), last=pl.col("session").max())
        .sort("rows", "table", "rule", descending=[True, False, False])
        if by_rule
        else rows.sort("session", "table", "rule", "row", descending=[True, False, False, False])
        .head(limit)
        .select(pl.exclude("known_at"))
    )
    frame(shown, "json" if as_json else "table", title=f"findings, newest first; {rows.height:,} in all")


@findings_app.command("scan")
def findings_scan(
    first: From = None,
    last: To = None,
    repair_them: Annotated[
        bool, typer.Option("--repair", help="Store the proposed repairs, known from now on; name who and why.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Who does this; it is recorded.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "",
) -> None:
    """Examine the whole history of the daily bars with hindsight: units, splits, payments. Findings are stored;
    repairs are proposed, and let in with --repair.
    """
    import polars as pl

    from desk.lock import only_run
    from jobs.console import frame, say, working
    from quant_assets.contract import in_force
    from quant_assets.market_data.examination import examine
    from quant_assets.market_data.ingest import known_at
    from quant_assets.market_data.repairs import mend
    from quant_assets.tables import ACTIONS, BARS, DATA_FINDINGS

    if repair_them and not (by.strip() and reason.strip()):
        raise typer.BadParameter("--repair changes what research reads from now on: say who (--by) and why (--reason)")
    whole = producing()
    with only_run(whole.home):
        shown = list[pl.DataFrame]()
        proposed = list[pl.DataFrame]()
        count = 0
        for ws in whole.markets:
            now = ws.clock.now()
            with working("examining the bars"):
                moment = known_at(now, ws.knowledge.latest_cut(), now, None)
                bars, actions = (
                    ws.store.read(BARS, as_of=None, first=first, last=last),
                    ws.store.read(ACTIONS, as_of=None, first=first, last=last),
                )
                found, mended = examine(in_force(bars, BARS), actions, moment)
                ws.store.append(DATA_FINDINGS, found)
            shown.append(found.select("session", "symbol", "rule", "severity", "found", "expected", "message"))
            proposed.append(mended.select("session", "symbol", "open", "high", "low", "close", "volume"))
            if repair_them:
                count += mend(ws.store, ws.knowledge, ws.ledger.audit, mended, act=acted(by, reason), now=now)
        frame(pl.concat(shown), "table", title="findings")
        mendable = pl.concat(proposed)
        if repair_them:
            say(f"{count:,} rows are repaired. `quant restatement list` shows what that changes.")
        elif mendable.height:
            frame(mendable, "table", title="proposed repairs (--repair --by --reason lets them in)")
