"""The demo: a story on a simulated market that proves itself. `quant demo` tells it; run again, it changes nothing.

As a module it is the story's other processes: `twin FOLDER` evaluates the same market without its signal, and
`interrupted SESSION` delivers a session and is killed in mid-send.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from desk.day import arrive, clock_of, ports
from desk.deployment import DEFAULT, Deployment, load
from desk.home import home, own_deployment
from desk.ledger import TABLES
from desk.lock import only_run
from desk.notebook import Notebook
from desk.workspace import Workspace
from jobs.console import console, say
from quant_assets import chain
from quant_assets.chain import RESEARCH
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.evaluation import Estimate, ic_estimate, rank_ic
from quant_assets.models.training import month_ends, retrain
from quant_assets.records import Frozen, Order
from quant_assets.tables import AUDITS, DECISIONS, FILLS, LABELS, MODELS, PROMOTIONS, QUARANTINE, SCORES
from resources.sources.market import Simulated
from resources.tables.store import DeltaStore

if TYPE_CHECKING:
    from jobs.execute import Runner

CHAMPIONS = 3  # month ends before the first live session at which a champion is cut
LIVE = 4  # sessions traded day by day
KILLED_AFTER = 7  # orders that reach the venue before the process is killed


def tell(*, fresh: bool) -> None:
    """Tell the story in the home folder. Raises ConfigurationError where the home has a deployment of its own."""
    where = home()
    if own_deployment(where) is not None or "QUANT_DEPLOYMENT" in os.environ:
        raise ConfigurationError(
            f"{where} has a deployment of its own; tell the demo elsewhere: QUANT_HOME=.quant-demo quant demo"
        )
    if fresh:
        shutil.rmtree(where, ignore_errors=True)
    ws, started = Workspace(where, load(DEFAULT)), time.monotonic()
    console.rule("[bold]quant-assets: from a vendor's rows to a report on what was traded")
    say(
        "[yellow]The market is simulated: no price below was ever traded.[/] Vendor defects, corporate actions "
        "and a predictive signal of known strength are planted in it.\n"
    )
    from jobs.execute import runner

    with only_run(ws.home), runner(ws) as running:
        _data(running)
        with _beside(where / "twin") as twin:
            _model(running, twin)
        for n, session in enumerate(_live(ws)):
            _day(running, 3 + n, session, interrupted=n == 1)
        _close(running)
    _next(ws)
    say(f"\nTold in {time.monotonic() - started:.0f} s. Tell it again: the same decision ids, no new order.")


@contextmanager
def _beside(folder: Path) -> Generator["subprocess.Popen[bytes]"]:
    """The process that evaluates the twin while the block runs; it ends with it."""
    command = [sys.executable, "-m", "jobs.demo", "twin", str(folder)]
    twin = subprocess.Popen(command, stdout=subprocess.PIPE)  # our own module
    try:
        yield twin
    finally:
        twin.kill()
        twin.wait()


def _live(ws: Workspace) -> list[date]:
    calendar = ws.cuts.calendar
    return calendar.between(ws.deployment.start, calendar.shift(ws.deployment.start, LIVE - 1))


def _cuts(ws: Workspace) -> list[date]:
    """The month ends at which the demo's champions are cut."""
    first, _ = ws.span
    return month_ends(ws.cuts.calendar, first, ws.cuts.calendar.shift(ws.deployment.start, -1))[-CHAMPIONS - 1 :]


def _heading(text: str) -> None:
    say(f"\n[bold cyan]{text}[/]")


def _data(running: "Runner") -> None:
    ws = running.ws
    first, until = ws.span[0], ws.cuts.calendar.shift(ws.deployment.start, -1)
    _heading("1  Data in")
    with console.status(f"captures, verdicts, universe, features and labels of {first} to {until}, in one run"):
        made = running.range("backfill", first, until, ("market_data", "features_price_volume", "labels"))
    data, features = made["history/market_data"], made["history/features_price_volume"]
    refused = ws.store.read(QUARANTINE, as_of=None).group_by("reason").len().sort("len", descending=True)
    asked = Notebook(ws.home, ws.deployment)
    taken = asked.sql("select count(*) captures, sum(rows) rows from captures").row(0)
    say(
        f"   {taken[0]:,} captures with {taken[1]:,} rows; {asked.sql('select count(*) from bars').item():,} "
        f"bars of {asked.sql('select count(distinct sid) from bars').item()} instruments in force."
    )
    say("   Quarantined, with file, line and reason: " + ", ".join(f"{r} {n}" for r, n in refused.iter_rows()) + ".")
    say(
        f"   Sessions whose data the rules refused: {data['verdicts_blocked']:.0f}. Feature values published: "
        f"{features['values']:,.0f}."
    )
    if not data["market_data_captures"]:
        say("   Nothing of it was new.")


def _model(running: "Runner", twin: "subprocess.Popen[bytes]") -> None:
    ws, cuts = running.ws, _cuts(running.ws)
    _heading("2  Models, out of sample")
    until = ws.cuts.calendar.shift(ws.deployment.start, -1)
    with console.status(f"models at the month ends from {cuts[0]} on"):
        running.range("backfill", cuts[0], until, ("champion",))
    after = ws.cuts.calendar.shift(cuts[0], 1)
    with console.status(f"scores, decisions and the research book of {after} to {until}, in one run"):
        running.range("backfill", after, until, ("decisions", RESEARCH.name, "research_report"))
    promoted = ws.store.read(PROMOTIONS, as_of=None).filter("promoted").height
    judged = judge(ws)
    with console.status("the same market without its signal"):
        out, _ = twin.communicate()
    twin_told = msgspec.json.decode(out, type=Twin)
    say(f"   {len(cuts)} models cut at month ends, {promoted} promoted to champion by rule.")
    say(f"   Rank IC out of sample: {_told(judged)} Planted: {_planted(ws.deployment).signal:+.3f}.")
    say(f"   The zero-signal twin:  {_told(twin_told.estimate)} A leak would show here.")
    say(f"   No champion is a fine answer: {len(twin_told.refused)} of the twin's {len(cuts)} candidates were refused.")
    for reason in twin_told.refused[:1]:
        say(f"   [dim]{reason}[/]")


def _told(of: Estimate) -> str:
    t = "–" if of.t is None else f"{of.t:+.1f}"
    return f"[bold]{of.mean:+.3f}[/] ± {of.error:.3f} (t {t}, {of.n} sessions)."


def judge(ws: Workspace) -> Estimate:
    """The rank IC of the stored scores of history against the labels that became known after them."""
    rule = ws.deployment.strategies[0].rule
    filed = ws.store.read(LABELS, as_of=None, where={"label": rule.name, "horizon": rule.horizon})
    labels = in_force(filed, LABELS).select("session", "sid", "value")
    history = ws.cuts.calendar.shift(ws.deployment.start, -1)
    scored = ws.store.read(SCORES, as_of=None, last=history).join(labels, on=["session", "sid"])
    return ic_estimate(rank_ic(scored), rule.horizon)


def _day(running: "Runner", number: int, session: date, *, interrupted: bool) -> None:
    ws = running.ws
    _heading(f"{number}  {session}, live" + (", and its delivery is killed in mid-send" if interrupted else ""))
    with console.status("data, fills, positions, reconciliation, features, scores, decisions"):
        daily = running.session("daily", session)
    counts = {
        k.upper(): int(float(str(v)))
        for k, v in daily["decisions"].items()
        if k not in {"decisions", "rows", "trade", "no_trade"} and isinstance(v, (int, float)) and v
    }
    say("   Decisions: " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items(), key=lambda kv: -kv[1])) + ".")
    book = daily["positions"]
    say(
        f"   Fills booked: {daily['fills']['fills']:.0f}. Equity {book['equity']:,.2f}, P&L "
        f"{book['pnl']:+,.2f}. Breaks: {daily['reconciliation']['breaks_open']:.0f}."
    )
    if interrupted:
        _interrupt(ws, session)
    with console.status("orders for the next open"):
        orders = running.session("deliver", session)["orders"]
    say(
        f"   Orders of the session: {orders.get('orders', 0):.0f}, sent now: {orders.get('sent', 0):.0f}."
        + _counted(ws, session)
    )
    running.session("post_trade", session)
    running.session("today", session)


def _interrupt(ws: Workspace, session: date) -> None:
    """Deliver in another process, which is killed after some orders have reached the venue."""
    environment = {**os.environ, "QUANT_HOME": str(ws.home)}
    with console.status("another process delivers, and is killed"):
        ended = subprocess.run(
            [sys.executable, "-m", "jobs.demo", "interrupted", session.isoformat()],
            check=False,
            env=environment,
            stdout=subprocess.DEVNULL,
        )  # our own module
    if ended.returncode == -signal.SIGKILL:
        say(
            f"   [red]kill -9[/] after {KILLED_AFTER} orders: the venue holds {_at_venue(ws, session).total()} "
            f"of them, our ledger has acknowledgements for {KILLED_AFTER - 1}."
        )
    else:
        say("   Everything had been delivered before: there was nothing to kill.")


def _at_venue(ws: Workspace, session: date) -> Counter[str]:
    """How often the venue holds each of our client order ids of the session."""
    (book,) = ws.books(live=True)
    ours = {w.order.client_order_id for w in ws.ledger.outbox.orders(book.name) if w.order.decided == session}
    return Counter(o.client_order_id for o in ws.brokers.open(book).events(None).orders if o.client_order_id in ours)


def _counted(ws: Workspace, session: date) -> str:
    (book,) = ws.books(live=True)
    ours = {w.order.client_order_id for w in ws.ledger.outbox.orders(book.name) if w.order.decided == session}
    held = _at_venue(ws, session)
    doubled, lost = sum(n - 1 for n in held.values()), len(ours - set(held))
    return f" Counted at the venue: {held.total()} orders, [bold]{doubled} doubled, {lost} lost[/]."


def _close(running: "Runner") -> None:
    _heading(f"{3 + LIVE}  The pages")
    with console.status("the quality suite and its data docs"):
        running.check("data_docs")
    ws = running.ws
    for page in sorted(ws.reports.glob("*.html"))[-3:]:
        say(f"   {page}")


def _next(ws: Workspace) -> None:
    decided = ws.store.read(DECISIONS, as_of=None, first=ws.deployment.start).filter(pl.col("reason") == "SELECTED")
    fills = ws.store.read(FILLS, as_of=None, where={"book": "paper"})
    _heading("Try next")
    session = _live(ws)[-1]
    commands: Mapping[str, str] = {
        "make ui": "the asset graph and the day's status",
        "quant today": "what is due, done or blocked",
        "quant doctor": "does this machine give the bits of every other?",
        f"quant replay {decided['decision_id'][-1]}": "a decision, rebuilt to the bit",
        **(
            {f"quant trace {fills['exec_id'][-1]}": "a fill, walked back to the vendor's lines"} if fills.height else {}
        ),
        f"quant why {session}": "decisions by reason",
        'quant sql "select reason, count(*) n from quarantine group by all order by n desc"': "any table, at any time",
        "quant run daily": "the next session",
        "quant kill-switch on --by YOU --reason drill": "no order leaves",
    }
    installed = os.path.relpath(sys.argv[0]) if shutil.which("quant") is None else "quant"
    for told, text in commands.items():
        command = told.replace("quant ", f"{installed} ", 1) if told.startswith("quant ") else told
        say(f"   [bold]{command}[/]  [dim]{text}[/]")


class Twin(Frozen, frozen=True):
    """What the market without a signal came to: the IC of models promoted without having to earn it, and why the
    strategy's own rule refused which of its candidates.
    """

    estimate: Estimate
    refused: tuple[str, ...]


class _Unregistered:
    """The twin's model registry: its models are thrown away."""

    def log(self, **_: Any) -> str:
        return "unregistered"

    def promote(self, strategy: str, registry_version: str) -> None:
        pass


def _planted(deployment: Deployment) -> Simulated:
    """The market whose signal the demo knows."""
    if not isinstance(deployment.source, Simulated):
        raise ConfigurationError("the demo tells of a simulated market; its deployment names another source")
    return deployment.source


def _twin(folder: Path) -> None:
    """Evaluate the market without its signal, and print the `Twin` as JSON. To measure noise a champion is needed: here
    each candidate is promoted, whatever its IC, and the strategy's own rule judges the same candidates.
    """
    with_signal = load(DEFAULT)
    (strategy,) = with_signal.strategies
    without = msgspec.structs.replace(_planted(with_signal), signal=0.0)
    ws = Workspace(folder, msgspec.structs.replace(with_signal, source=without), registry=_Unregistered())
    first, until = ws.span[0], ws.cuts.calendar.shift(with_signal.start, -1)
    given = ports(ws, clock_of(ws, until)) | {"sessions": ws.cuts.calendar.between(first, until), "run_id": ""}
    if ws.store.read(SCORES, as_of=None).is_empty():
        list(arrive(ws, until))
        # no more than a model needs; the audit is of the feature set, whatever the market
        list(chain.run([chain.STAGES[name] for name in ("universe", "features", "labels")], given))
        ws.store.append(AUDITS, DeltaStore(folder.parent / TABLES).read(AUDITS, as_of=None))
    own = msgspec.structs.replace(strategy, name=f"{strategy.name}_strict")
    candidates = [retrain(ws.store, ws.registry, ws.feature_set_of(own), own, ws.cuts, cut) for cut in _cuts(ws)]
    for table in (MODELS, PROMOTIONS):
        judged = ws.store.read(table, as_of=None, where={"strategy": own.name})
        promoted = {"promoted": pl.lit(value=True)} if table is PROMOTIONS else {}
        ws.store.append(table, judged.with_columns(strategy=pl.lit(strategy.name), **promoted))
    list(chain.run([chain.STAGES["scores"]], given))
    refused = tuple(f"{c.first}: {c.notes[-1]}" for c in candidates if not c.numbers.get("promoted"))
    sys.stdout.buffer.write(msgspec.json.encode(Twin(estimate=judge(ws), refused=refused)))


def _interrupted(session: date) -> None:
    """Deliver a session; die as in a power cut once the venue has accepted some orders."""
    from quant_assets.execution.session_delivery import deliver
    from resources.brokers.paper import PaperBroker

    accepted = 0
    submit = PaperBroker.submit

    def submit_and_die(self: PaperBroker, order: Order) -> str:
        nonlocal accepted
        answer = submit(self, order)
        accepted += 1
        if accepted == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    PaperBroker.submit = submit_and_die
    ws = Workspace.open()
    for book in ws.books(live=True):
        deliver(
            ws.store,
            ws.ledger.outbox,
            ws.ledger.kill_switch,
            ws.ledger.breaks,
            ws.brokers.open(book),
            book,
            ws.strategy_of(book),
            ws.cuts,
            session,
            clock_of(ws, session),
            ws.notifier,
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["twin", folder]:
            _twin(Path(folder))
        case ["interrupted", session]:
            _interrupted(date.fromisoformat(session))
        case _:
            raise SystemExit("usage: python -m jobs.demo twin FOLDER | interrupted SESSION")
