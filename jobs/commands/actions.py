"""`quant actions …`: corporate actions that prices alone do not tell well enough, and what a person says about
them; every act is on record.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, By, Reason, acted, producing, workspace

if TYPE_CHECKING:
    from desk.workspace import Workspace

actions_app = typer.Typer(
    no_args_is_help=True,
    help="Confirm or reject proposed corporate actions.",
)
ProposalId = Annotated[
    str, typer.Argument(metavar="ID", help="As `quant actions list` shows it; its beginning will do.")
]
SHOWN = ("id", "symbol", "session", "before", "adjusted", "after", "factor", "explanations", "confidence")


@actions_app.command("list")
def actions_list(
    everything: Annotated[bool, typer.Option("--all", help="Confirmed and rejected ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ex-sessions at which raw and adjusted closes part for a reason that is not sure: the closes, the vendor's
    factor, what may explain it. Nothing is traded on the name meanwhile.
    """
    from jobs.console import frame
    from quant_assets.market_data.proposals import listed
    from quant_assets.tables import PROPOSED_ACTIONS

    rows = listed(workspace().store.read(PROPOSED_ACTIONS, as_of=None), everything=everything)
    shown = rows.select(*SHOWN, *(("state", "by", "note") if everything else ()))
    frame(shown, "json" if as_json else "table", title="proposed actions, newest first")


@actions_app.command("confirm")
def actions_confirm(
    proposal: ProposalId,
    by: By,
    reason: Reason,
    terms: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="TERMS",
            help="What it was, where that is not the first explanation: 'split 5:2', 'split 2:1 + dividend "
            "1.00' (per old share), 'spin_off 5.50'.",
        ),
    ] = None,
) -> None:
    """Say what a proposed action was, known from now on: prices, labels and books take it into account, and the
    name is traded again.
    """
    from desk.lock import only_run
    from jobs.console import escape, say
    from quant_assets.market_data.confirmations import confirm

    ws = _market(proposal)
    with only_run(ws.home):
        said, rows = confirm(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            proposal,
            terms=terms,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    ex = rows["session"].item(0)
    say(f"Confirmed by {escape(by)}: {escape(said)}, ex {ex}. `quant restatement list` shows what it changes.")


@actions_app.command("reject")
def actions_reject(proposal: ProposalId, by: By, reason: Reason) -> None:
    """Say that there was no action, from now on: the price moved by itself, or the vendor erred. The name is traded
    again.
    """
    from desk.lock import only_run
    from jobs.console import escape, say
    from quant_assets.market_data.confirmations import reject

    ws = _market(proposal)
    with only_run(ws.home):
        about = reject(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            proposal,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    say(f"{escape(about)} is rejected by {escape(by)}.")


def _market(proposal: str) -> "Workspace":
    """The market of a proposal: what its cuts have read decides when an answer is known."""
    from quant_assets.market_data.confirmations import find
    from quant_assets.market_data.markets import market_of

    ws = producing()
    return ws.lane_of(market_of(find(ws.store, proposal)["source"]))
