"""Everything the assets need from outside, on one page. Adapters stand in `resources/`."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

import polars as pl

from quant_assets.contract import Table
from quant_assets.records import Book, Break, BrokerOrder, Capture, Fill, Order, OrderState, Provenance, Working

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
        """What each of `labels` says now, cheaply: where the fingerprint is the one of the capture taken in, it says what it said.

        None: what was taken once never changes. `NOTHING`: whatever said it is there and readable, and has no row of that
        label. A label that is left out cannot be judged: its delivery is not there. Raises CaptureUnreadable.
        """
        ...

    def fetch(self, label: date) -> Capture:
        """One capture. Raises CaptureUnreadable."""
        ...


class Store(Protocol):
    """Versioned tables. Append only."""

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """Write the rows that are not there yet and return their number. Rows that stand already are a no-op; the same key with another content raises ConflictingRow."""
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
        """All versions known by `as_of` (None: all there is), event in [first, last], columns equal to `where`; sorted by the table's key. `columns`: these and the key alone."""
        ...

    def version(self, table: Table) -> int:
        """The table's current version; -1 where it does not exist yet."""
        ...


class Ledger(Protocol):
    """The operational database: outbox, bindings, fills booked, kill switch, breaks, audit. Every method is one transaction."""

    def note_cut(self, as_of: datetime) -> None:
        """Record that a decision or a published feature has read everything known by `as_of`."""
        ...

    def latest_cut(self) -> datetime | None:
        """The latest cut that was read; rows that arrive behind it are known at arrival."""
        ...

    def bind(self, book: str, strategy: str, session: date, decision_set_id: str, orders: Sequence[Order]) -> str:
        """Commit the first decision set and its orders together; return the set in force, which is another one where that came first (then nothing is written but the divergence)."""
        ...

    def bound(self, book: str, strategy: str, session: date) -> str | None:
        """The decision set that binds, if any."""
        ...

    def orders(self, book: str, states: Sequence[OrderState] | None = None) -> Sequence[Working]:
        """Orders in these states (None: in any), by client order id."""
        ...

    def since(self, client_order_id: str) -> datetime:
        """When the last event of an order was recorded."""
        ...

    def lease(self, book: Book, seconds: float) -> int:
        """Become or stay the one writer of the book's account; return the fencing token. Raises LeaseLost where another process is."""
        ...

    def release(self, book: Book) -> None:
        """Let the next writer in without waiting."""
        ...

    def begin_submit(self, client_order_id: str) -> bool:
        """PENDING to SUBMITTING in the transaction that reads the kill switch; False where the switch is on or the order is no longer pending."""
        ...

    def transition(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        filled: int | None = None,
        broker_order_id: str | None = None,
        reason: str = "",
    ) -> None:
        """Record what the venue said. Raises ExecutionError on a transition that the state machine does not have."""
        ...

    def book_fill(self, book: str, fill: Fill) -> bool:
        """Book an execution once, whichever path brought it: False where its exec_id is booked already."""
        ...

    def fills(self, book: str, first: date | None = None, last: date | None = None) -> Sequence[Fill]:
        """Executions booked."""
        ...

    def kill_switch(self) -> tuple[bool, str]:
        """Whether it is on, and the reason given."""
        ...

    def set_kill_switch(self, on: bool, *, by: str, reason: str) -> None:
        """Switch it; audited."""
        ...

    def open_break(self, found: Break) -> bool:
        """Record a break once."""
        ...

    def breaks(self, book: str | None = None, *, open_only: bool = True) -> Sequence[Mapping[str, str]]:
        """Breaks, oldest first."""
        ...

    def resolve_break(self, break_id: str, *, by: str, reason: str) -> None:
        """Close a break; audited."""
        ...

    def audit(self, act: str, subject: str, *, by: str, reason: str) -> None:
        """Record a human act."""
        ...


class Broker(Protocol):
    """A venue where orders go. It keeps its own record, which is the truth about fills."""

    name: str

    def sync(self, session: date) -> None:
        """Bring the venue's record up to the close of `session`."""
        ...

    def submit(self, order: Order) -> str:
        """Send; return the venue's id. Raises OrderRejected (definite) or OrderUncertain."""
        ...

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """What the venue holds under this client order id; None where it holds nothing."""
        ...

    def orders(self) -> Sequence[BrokerOrder]:
        """Every order the venue knows of this account."""
        ...

    def executions(self, first: date | None = None) -> Sequence[Fill]:
        """Executions from session `first` on, in booking order."""
        ...

    def positions(self) -> Mapping[int, int]:
        """Shares by sid, without zeros."""
        ...

    def cash(self) -> Decimal:
        """The account's cash."""
        ...


class Brokers(Protocol):
    """Opens the venue of a book."""

    def open(self, book: Book) -> Broker:
        """The adapter for the book's account. Raises ConfigurationError for a research book."""
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
