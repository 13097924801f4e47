"""A turn of a book to trade: once a session, or at each slot of one."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.beside import deadline
from quant_assets.calendars.slots import Slot, slots
from quant_assets.contract import in_force
from quant_assets.moments import Every
from quant_assets.ports import Store
from quant_assets.records import SLOT, Order
from quant_assets.strategy import Strategy
from quant_assets.tables import BARS


@dataclass(frozen=True)
class Turn:
    """What was decided in the session `decided`, at `slot` where it has slots, trades in `session`.

    `booked`: the session whose evening the book trades from. `cut`: what is known by then counts of instruments, rates
    and loans. From `over` on nothing of it leaves.
    """

    decided: date
    session: date
    booked: date
    cut: datetime
    over: datetime
    slot: Slot | None = None

    @property
    def name(self) -> str:
        """The slot under which its decision set is bound."""
        return SLOT if self.slot is None else self.slot.slot

    @property
    def words(self) -> str:
        """When it is, for a person."""
        return f"{self.decided}" if self.slot is None else f"{self.decided} {self.slot.slot}"

    def has(self, order: Order) -> bool:
        """Whether an order of the book's strategy was decided at this turn."""
        return order.decided == self.decided and (self.slot is None or order.slot == self.slot.slot)


def after(cuts: Cuts, session: date) -> Turn:
    """The turn of what was decided at the cut of a session: in the one that follows."""
    return Turn(session, cuts.calendar.after(session), session, cuts.of(session), deadline(cuts, session))


def at(slot: Slot, begun: datetime, booked: date) -> Turn:
    """The turn of a slot, from the evening of `booked`. All slots of a session have the terms that were known at the
    cut of the first one, `begun`.
    """
    return Turn(slot.session, slot.session, booked, begun, slot.valid_until, slot)


def slots_of(strategy: Strategy, cuts: Cuts, session: date) -> list[Slot]:
    """The slots at which an intraday strategy decides in a session."""
    assert isinstance(strategy.moment, Every)  # noqa: S101  # the strategy of a lane of slots
    return slots(cuts.calendar, strategy.moment, session)


def trading(store: Store, turn: Turn, decisions: pl.DataFrame) -> Collection[int]:
    """The names that traded in the session that decided, or in the bar that a slot's DECISIONS rows read."""
    if turn.slot is not None:
        return set(decisions.filter(pl.col("reference_price") > 0)["sid"])
    bars = store.read(BARS, as_of=turn.cut, first=turn.decided, last=turn.decided)
    return set(in_force(bars, BARS)["sid"])
