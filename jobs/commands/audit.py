"""`quant audit`: what people did by hand, when and why."""

from jobs.commands.options import AsJson


def audit(as_json: AsJson = False) -> None:
    """List every act of a person, oldest first: when, what, on what, by whom and why."""
    import polars as pl

    from desk.ledger import ledger_of
    from desk.workspace import home
    from jobs.console import frame

    acts = pl.DataFrame(ledger_of(home()).audit.acts(), schema=["at", "act", "subject", "by", "reason"])
    frame(acts, "json" if as_json else "table", title="acts, oldest first")
