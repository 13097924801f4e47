"""Whatever the venue reports, in whatever order, the books end where its record does."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quant_assets.contract import Table
from quant_assets.records import Commission, Execution
from quant_assets.tables import BARS, COSTS, FILLS, JOURNAL, NAV, PNL, POSITIONS
from tests.execution.small_market import CUTS, SESSIONS, bars
from tests.execution.test_corrections import agrees
from tests.execution.test_drop_copy import DAYS, OPEN, Traded

ARRIVALS = 4  # sessions over which reports come in
TABLES = (FILLS, JOURNAL, NAV, PNL, COSTS, POSITIONS)


class MemoryStore:
    """The Store port without files."""

    def __init__(self) -> None:
        self._frames: dict[str, pl.DataFrame] = {}

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        given, old = table.conform(frame), self._frames.get(table.name, table.empty())
        new = given.join(old, on=list(table.content), how="anti", nulls_equal=True)
        assert new.join(old, on=list(table.key), how="semi").is_empty(), "a stored row would change"
        self._frames[table.name] = pl.concat([old, new]).sort(table.key)
        return new.height

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
        """See the port."""
        keep = [pl.lit(value=True), *(pl.col(c) == v for c, v in (where or {}).items())]
        keep += [pl.col("known_at") <= as_of] if as_of else []
        keep += [pl.col(table.event) >= first] if first else []
        keep += [pl.col(table.event) <= last] if last else []
        found = self._frames.get(table.name, table.empty()).filter(keep)
        return found if columns is None else found.select(c for c in table.schema if c in {*columns, *table.key})

    def version(self, table: Table) -> int:
        """See the port."""
        return 0 if table.name in self._frames else -1


MARKET = MemoryStore()
MARKET.append(BARS, bars())

changes = st.lists(
    st.tuples(
        st.integers(0, 3),  # which trade
        st.sampled_from(["bust", "correct"]),
        st.integers(1, 5),  # the quantity of a correction: an order of ten is not executed beyond
        st.integers(2600, 2900),  # its price in cents
    ),
    max_size=5,
)


def reports(traded: Traded, sizes: Sequence[int], changed: Sequence[tuple[int, str, int, int]]) -> list[Any]:
    """What a venue says of four trades on two orders of D1 and D2, and of what it changed of them, fees included."""
    traded.order(DAYS[0])
    traded.order(DAYS[1])
    found: list[Any] = []
    current: list[str] = []
    for number, size in enumerate(sizes):
        day = DAYS[number // 2]
        traded.venue.now = OPEN(day) + timedelta(seconds=number)
        made = traded.venue.execute(f"c{day:%m%d}", size, "27.5")
        current.append(made.exec_id)
        found.append(made)
    for number, (trade, kind, quantity, cents) in enumerate(changed):
        traded.venue.now = OPEN(DAYS[1]) + timedelta(minutes=1 + number)
        if trade >= len(current) or traded.venue._true[f"x{trade}"].quantity == 0:
            continue
        terms = {"quantity": 0} if kind == "bust" else {"quantity": quantity, "price": Decimal(cents) / 100}
        made = traded.venue.correct(current[trade], **terms)
        current[trade] = made.exec_id
        found.append(made)
    for number, execution in enumerate([e for e in found if e.quantity]):
        traded.venue.charge(execution.exec_id, f"1.{number}")
        found.append(Commission(execution.exec_id, Decimal(f"1.{number}")))
    return found


def settle(traded: Traded, batches: Sequence[Sequence[Any]]) -> None:
    """Each batch in its session, from D2 on; the whole record with the last one."""
    whole = traded.venue.events
    for day, batch in zip(DAYS, [[], *batches], strict=False):
        traded.venue.now = CUTS.of(day)
        everything = whole(None)
        told = msgspec.structs.replace(
            everything,
            executions=tuple(r for r in batch if isinstance(r, Execution)),
            commissions=tuple(r for r in batch if isinstance(r, Commission)),
        )
        traded.venue.events = lambda _since, told=told: told
        traded.book(day)
    traded.venue.events = whole


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink takes minutes
)
@given(sizes=st.lists(st.integers(1, 5), min_size=4, max_size=4), changed=changes, data=st.data())
def test_any_order_of_arrival_ends_in_the_venues_record(sizes, changed, data):
    """Net fills are the positions, the journal's sum is the cash, COSTS has the fees of NAV; again is a no-op."""
    with tempfile.TemporaryDirectory() as folder:
        traded = Traded(Path(folder))
        traded.ledger.executions._db.connection.execute("PRAGMA synchronous = OFF")
        traded.store = MemoryStore()
        traded.store._frames = dict(MARKET._frames)
        traded.settle(SESSIONS[0])
        said = reports(traded, sizes, changed)
        shuffled = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=4))))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), min_size=3, max_size=3)))
        edges = [0, *cuts, len(shuffled)]
        settle(traded, [shuffled[a:b] for a, b in pairwise(edges)])
        before = {t.name: traded.store.read(t, as_of=None) for t in TABLES}
        agrees(traded)
        last = DAYS[ARRIVALS]
        assert traded.collect(last).numbers["booked"] == 0
        assert all(before[t.name].equals(traded.store.read(t, as_of=None)) for t in TABLES)
        assert traded.reconcile(last).numbers["breaks_found"] == 0, traded.told.subjects
