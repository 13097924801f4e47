"""Everything the assets need from outside, on one page. The adapters are in `resources/`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from decimal import Decimal
from threading import Timer
from typing import Any, Protocol, runtime_checkable

import polars as pl

from quant_assets.calendars.slots import Slot
from quant_assets.contract import Table
from quant_assets.records import (
    SLOT,
    Artifact,
    Book,
    Break,
    BrokerOrder,
    Capture,
    Commission,
    Entry,
    Events,
    Fill,
    Mark,
    Notice,
    Order,
    OrderState,
    Part,
    Provenance,
    Switch,
    Working,
)
from quant_assets.strategy import ModelRule

NOTHING = "nothing"  # the fingerprint of a label of which the source has no row any more


class Clock(Protocol):
    """The wall."""

    def now(self) -> datetime:
        """The time, UTC."""
        ...


class MarketDataSource(Protocol):
    """A vendor of captures: of daily bars with what belongs to them, or of any other dataset."""

    name: str

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """The labels of the captures that exist, ascending; a label is the last session the vendor meant to send."""
        ...

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """A cheap fingerprint of the content of each label: the same one as of the delivery ingested means no change.

        None: a label that never changes once ingested. `NOTHING`: the delivery is there and readable, and has no row of
        that label. A label that is left out cannot be judged: its delivery is not there. Raises CaptureUnreadable.
        """
        ...

    def fetch(self, label: date) -> Capture:
        """One capture. Raises CaptureUnreadable."""
        ...


@runtime_checkable
class PartlyRead(Protocol):
    """A source of several files that goes on with the others if one cannot be read."""

    @property
    def unread(self) -> Sequence[str]:
        """Of each file that could not be read, its name and why; known once the labels were asked for."""
        ...


class Store(Protocol):
    """Versioned tables. Append only."""

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """Write the rows that are not stored yet and return their number.

        A row that is stored already is a no-op; the same key with other content raises ConflictingRow.
        """
        ...

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """All versions known by `as_of` (None: all), event in [first, last], columns equal to `where`, sorted by the
        key.

        `columns`: only these and the key.
        """
        ...

    def version(self, table: Table) -> int:
        """The table's current version; -1 where it does not exist yet."""
        ...


class Marks(Protocol):
    """How far each table had come when rows of it were last reported as stored, so that a loss is seen."""

    def of(self, table: str) -> Mark | None:
        """The mark of a table; None where nothing was stored in it yet, or only by an older release."""
        ...

    def listed(self) -> Mapping[str, Mark]:
        """All marks, by table."""
        ...

    def advance(self, table: str, mark: Mark) -> None:
        """Mark what is durable now. A mark of a later version stays."""
        ...

    def replace(self, marks: Mapping[str, Mark]) -> None:
        """Put these marks in the place of all, also where they are lower: after a restore."""
        ...


class KnowledgeLog(Protocol):
    """What was read up to when: rows that arrive behind a cut that was read are known at their arrival."""

    def note_cut(self, as_of: datetime) -> None:
        """Record that a decision or a published feature has read everything known by `as_of`."""
        ...

    def latest_cut(self) -> datetime | None:
        """The latest cut that was read."""
        ...


class Writer(Protocol):
    """The right to write the outbox of one book. Every method is one transaction.

    Every method raises LeaseLost, and writes nothing, once the lease is released or another process took it over;
    ExecutionError for an order of another book or one that the outbox does not hold. `now` is the time in the clock
    of the caller's run.
    """

    def bind(
        self,
        book: str,
        strategy: str,
        session: date,
        decision_set_id: str,
        orders: Sequence[Order],
        *,
        now: datetime,
        slot: str = SLOT,
        parts: Sequence[Part] = (),
    ) -> str:
        """Commit the first decision set of a slot of a session and its orders together; return the set that binds.

        `slot`: the bar's, where a strategy decides at several of a session. `parts`: of which orders of books these
        are, where they are an account's; they are committed with them. Where another set came first, only the
        divergence is recorded.
        """
        ...

    def begin_submit(self, client_order_id: str, *, now: datetime) -> bool:
        """PENDING to SUBMITTING in the transaction that reads the kill switches of all, the account and the book.

        False where one of them is on or the order is no longer pending. Raises OrderHeld, once the order is HELD, where
        its stored row is not the order that was bound.
        """
        ...

    def transition(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        now: datetime,
        filled: int | None = None,
        broker_order_id: str | None = None,
        reason: str = "",
    ) -> None:
        """Record what the venue reported; nothing where that is recorded already.

        Raises ExecutionError on a transition that the state machine does not have, or where `filled` shrinks.
        """
        ...

    def restate(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        filled: int,
        broker_order_id: str,
        reason: str,
        now: datetime,
    ) -> bool:
        """Record the state of an order after the venue changed its mind, whatever the state machine has.

        False, and nothing, where that is recorded already or `broker_order_id` is that of another order.
        """
        ...


class Outbox(Protocol):
    """Decision sets that bind and their orders. Whoever holds the lease of a book writes, by its Writer."""

    def bound(self, book: str, strategy: str, session: date, slot: str = SLOT) -> str | None:
        """The decision set that binds at a slot of a session, if any."""
        ...

    def orders(
        self, book: str, states: Sequence[OrderState] | None = None, *, since: date | None = None
    ) -> Sequence[Working]:
        """Orders in these states (None: in any) that were decided in session `since` or later, by client order id."""
        ...

    def parts(self, account: str, *, since: date | None = None) -> Sequence[Part]:
        """Of which orders of books the account's orders for session `since` or later are, by client order id."""
        ...

    def since(self, client_order_id: str) -> datetime:
        """When the last event of an order was recorded, in the clock of the run that recorded it."""
        ...

    def lease(self, book: Book, seconds: float) -> AbstractContextManager[Writer]:
        """Become the one writer of the book's account until the context exits, or for `seconds` of wall time.

        Raises LeaseLost where another one holds the lease. That of a process that is gone is free at once.
        """
        ...


class Executions(Protocol):
    """What the venue executed, as booked. Every method is one transaction."""

    def book_fill(self, book: str, fill: Fill) -> bool:
        """Book an execution once, whichever path brought it: False where it is booked already.

        Raises ExecutionError where its exec_id is booked with other content.
        """
        ...

    def book_shares(self, shares: Mapping[str, Sequence[Fill]]) -> int:
        """Book what books have of executions of their account, by book, all or none, as `book_fill` does each; return
        how many are new.
        """
        ...

    def book_fee(self, book: str, commission: Commission, *, session: date) -> bool:
        """Book a fee that came apart from its execution, or the difference of one that was restated, once, in the
        session in which it is first seen.

        Raises ExecutionError where another fee is booked under this id.
        """
        ...

    def fills(self, book: str, first: date | None = None, last: date | None = None) -> Sequence[Fill]:
        """Executions booked, by session and exec_id."""
        ...

    def trades(self, book: str, exec_ids: Collection[str]) -> Sequence[Fill]:
        """All that is booked of the trades of these executions: they themselves, what corrects them and what they
        correct.
        """
        ...

    def fees(self, book: str, first: date | None = None, last: date | None = None) -> Sequence[tuple[date, Commission]]:
        """Fees that came apart from their executions, with the session in which they are booked."""
        ...

    def cursor(self, book: str) -> str | None:
        """Up to where the venue's record is booked; None where nothing is."""
        ...

    def advance(self, book: str, cursor: str) -> None:
        """Record a cursor, after everything that it covers was booked."""
        ...


class Facts(Protocol):
    """What was done of a session of a strategy or book, where no other row proves it."""

    def record(self, name: str, session: date, slot: str, fact: str, detail: str, *, now: datetime) -> None:
        """Record a fact: refused | not_sent | reconciled | published. Again: the latest detail and time are kept."""
        ...

    def recorded(self, name: str, slot: str) -> Mapping[date, Mapping[str, str]]:
        """The details by fact of each session of which one is recorded, ascending."""
        ...


class KillSwitch(Protocol):
    """Stops all sending: everywhere, of an account, or of a book."""

    def state(self, book: Book | None = None) -> Switch:
        """The first switch that is on: for all, then for the book's account, then for the book; else that for all, off.

        A switch for all that is missing is on.
        """
        ...

    def listed(self) -> Sequence[Switch]:
        """Every switch that was ever set, that for all first."""
        ...

    def set(self, on: bool, *, scope: str = "all", by: str, reason: str, now: datetime) -> None:
        """Turn the switch of a scope on or off, with an entry in the audit.

        Raises ConfigurationError for a scope other than `all`, `account NAME` and `book NAME`.
        """
        ...


class Breaks(Protocol):
    """Differences between our ledger and the venue's record."""

    def open(self, found: Break, *, now: datetime) -> bool:
        """Record a break once: False where it is recorded already."""
        ...

    def compared(self, book: str, found: Sequence[Break]) -> None:
        """Record that these, and no others, were the differences of the book when it was compared last."""
        ...

    def listed(self, book: str | None = None, *, open_only: bool = True) -> Sequence[Mapping[str, str]]:
        """Breaks, oldest first: the fields of Break, opened_at, resolved_at, resolved_by, resolution and state.

        `state`: open | resolved | resolved, but still differs. The last is open too: an explanation moves no share, and
        the positions or the cash were found to differ when they were compared last.
        """
        ...

    def resolve(self, break_id: str, *, by: str, reason: str, now: datetime) -> None:
        """Close a break, with an entry in the audit. Raises ExecutionError where no such break is open."""
        ...


class Entries(Protocol):
    """What people book by hand."""

    def add(self, entry: Entry) -> None:
        """Store an entry, with an act in the audit. Raises ExecutionError where nobody is named."""
        ...

    def of(self, book: str | None = None, first: date | None = None, last: date | None = None) -> Sequence[Entry]:
        """The entries of a book (None: of all), by session and time."""
        ...


class Audit(Protocol):
    """Every act of a person: who, when on the wall clock, what and why."""

    def record(self, act: str, subject: str, *, by: str, reason: str, now: datetime) -> None:
        """Append an act. Raises ExecutionError where nobody is named."""
        ...

    def acts(self) -> Sequence[Mapping[str, str]]:
        """All acts, oldest first: at, act, subject, by, reason, and the hash that chains them (`quant_assets.acts`)."""
        ...


class Broker(Protocol):
    """A venue where orders go. It keeps its own record, which is the truth about fills.

    `settle_window`: how long an order that was sent may take to appear there; one that is absent for longer never
    arrived.
    """

    name: str
    settle_window: timedelta

    def submit(self, order: Order) -> str:
        """Send; return the venue's id. Raises OrderRejected (definite) or OrderUncertain."""
        ...

    def cancel(self, client_order_id: str) -> None:
        """Cancel an order. Raises OrderRejected where none is open under this id, or OrderUncertain."""
        ...

    def replace(self, client_order_id: str, order: Order) -> str:
        """Cancel an order and send another in its place, both or neither; return the venue's id of the new one.

        Raises OrderRejected where none is open under this id or the new one is refused, or OrderUncertain.
        """
        ...

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """What the venue holds under this client order id; None where it holds nothing. Raises OrderUncertain."""
        ...

    def open_orders(self) -> Sequence[BrokerOrder]:
        """The orders of this account that can still trade."""
        ...

    def events(self, since: str | None) -> Events:
        """What was reported since a cursor that the venue gave; None: everything that it vouches for.

        A venue may repeat what it reported before. Raises CursorUnknown where it does not know the cursor.
        """
        ...

    def positions(self) -> Mapping[int, int]:
        """Shares by sid, without zeros."""
        ...

    def cash(self) -> Decimal:
        """The account's cash."""
        ...


@runtime_checkable
class ByCurrency(Protocol):
    """A venue whose account has cash in several currencies. Of one that is not, `cash` is all there is."""

    def balances(self) -> Mapping[str, Decimal]:
        """The account's cash by currency, `cash` under the account's own."""
        ...


@runtime_checkable
class SharesAccount(Protocol):
    """The venue of a book whose account other books trade too: an order waits for theirs, and leaves as one of the
    account's.

    `account`: the account as a book, named after it, with the capital of all; `books`: those that trade it; `venue`:
    where its orders go.
    """

    account: Book
    books: Sequence[Book]
    venue: "Broker"


@runtime_checkable
class Advances(Protocol):
    """A venue that trades only on our word: paper alone."""

    def advance(self, session: date) -> None:
        """Trade up to the close of `session`. Again: a no-op."""
        ...


@runtime_checkable
class TradesSlots(Protocol):
    """A venue that trades only on our word, and at the slots of a session: paper alone."""

    def trade(self, asked: Sequence[Slot]) -> None:
        """Trade the orders of these slots, whose bars have begun. Again: a no-op."""
        ...


class Brokers(Protocol):
    """Opens the venue of a book."""

    def open(self, book: Book) -> Broker:
        """The adapter for the book's account. Raises ConfigurationError for a research book."""
        ...


class Learner(Protocol):
    """A family of models. The same rows give the same artifact, and a row's score does not depend on other rows."""

    family: str

    def fit(self, frame: pl.DataFrame, features: Sequence[str], rule: ModelRule) -> Artifact:
        """A model trained on column `target`, rows in the order given. Raises TrainingRefused."""
        ...

    def usable(self, artifact: Artifact) -> bool:
        """Whether the artifact can be read."""
        ...

    def predict(self, artifact: Artifact, frame: pl.DataFrame, threads: int) -> pl.Series:
        """`score` of each row of `frame`, which has the model's features as columns."""
        ...

    def explain(self, artifact: Artifact, frame: pl.DataFrame, threads: int) -> pl.DataFrame:
        """What each feature adds to the raw score of each row: a column a feature, and `base`; a row's sum is the
        score.
        """
        ...


class CostModel(Protocol):
    """What trading costs where fills are simulated: research books and the paper venue. It depends on nothing else
    than what it is given.
    """

    def price(self, opened: Decimal, side: int) -> Decimal:
        """What is paid (side 1) or received (-1) where the market opened, not better than the open, to 4 decimals."""
        ...

    def fee(self, quantity: int) -> Decimal:
        """The commission on so many shares of one order in one session, in cents; never below zero, and never less
        for more shares.
        """
        ...

    def capacity(self, volume: int) -> int:
        """The shares that can be traded in a session of this volume, at most the volume."""
        ...


@runtime_checkable
class ValueCosts(Protocol):
    """A CostModel that also takes a part of what a fill is worth."""

    def value_fee(self, worth: Decimal) -> Decimal:
        """The fee on a fill of so much worth, in cents; never below zero."""
        ...


class Label(Protocol):
    """What a model learns of the window of a session, made of the returns within it."""

    def value(self, path: pl.Expr) -> pl.Expr:
        """A number for each `path`: a list of what a holder has made after 1, 2, … sessions of the horizon (splits,
        payments and endings counted; null where that is not known).

        It is evaluated among the names of one session, in no order that it could rely on, and knows of no other
        session.
        """
        ...


class Construction(Protocol):
    """Turns scores into target weights."""

    def weights(self, scores: pl.DataFrame, held: pl.DataFrame | None = None) -> pl.DataFrame:
        """`scores` (session, sid, score, …) with rank and target_weight, a fraction of equity, sorted by (session,
        sid).

        `held`: sid and weight of what the book holds, for a construction that minds turnover. A session's weights
        do not
        depend on what other sessions are in the frame.
        """
        ...


class ModelRegistry(Protocol):
    """Where training is tracked. Never read on the daily path."""

    def log(
        self,
        *,
        strategy: str,
        cut: date,
        model_id: str,
        text: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        snapshot: str,
    ) -> str:
        """Track a training run and register its model; return the registry's version."""
        ...

    def promote(self, strategy: str, registry_version: str) -> None:
        """Point the alias `champion` at this version."""
        ...


class Notifier(Protocol):
    """Somebody is told."""

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """severity: info | warning | critical. Never raises: a broken channel is logged."""
        ...


class Deadline(Protocol):
    """How long sending may take."""

    @property
    def left(self) -> float:
        """Seconds until then, never quite none."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        ...

    def watch(self, connection: Any) -> Timer:
        """A running timer that cuts the `sock` of an HTTP or SMTP connection off at the deadline, however slowly the
        other side answers; cancel it when the answer is there.
        """
        ...


class Channel(Protocol):
    """A way by which notices reach people. It is asked once the work is done, never in the middle of it."""

    name: str

    def send(self, notice: Notice, what: str, limit: Deadline) -> None:
        """Send a notice (`what`: trigger), or that a person looks after it (acknowledge), within the limit.

        Raises where it was not accepted; it is tried again.
        """
        ...


class Stamp(Protocol):
    """Says under what a result is made."""

    def __call__(self, run_id: str) -> Provenance:
        """Table versions, code commit and lock hash of this moment, beside the run's id."""
        ...


class Progress(Protocol):
    """Called by long work after each piece."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` pieces of `total` are finished; the next is `what`."""
        ...


def quiet(done: int, total: int, what: str) -> None:
    """The Progress that shows nothing."""
