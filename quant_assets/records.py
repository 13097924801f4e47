"""The frozen records that cross stages. Frames carry the many; these carry the one."""

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NewType

import msgspec
import polars as pl
from msgspec import Meta

from quant_assets.plugged import Plug, name_of


def content_id(*parts: object, length: int = 32) -> str:
    """Hex SHA-256 of the parts' canonical JSON, cut to `length`: the same content has the same id anywhere."""
    text = msgspec.json.encode(parts, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:length]


def frame_hash(frame: pl.DataFrame) -> str:
    """SHA-256 over the columns' names, dtypes and bits. Rows count in the order given: sort by the full key first."""
    digest = hashlib.sha256()
    for column in frame.iter_columns():
        series = column.rechunk()
        digest.update(f"{series.name}:{series.dtype}:{len(series)};".encode())
        missing = series.null_count() > 0
        if missing:
            digest.update(series.is_null().to_numpy().tobytes())
        if series.dtype == pl.String or isinstance(series.dtype, pl.Decimal):
            texts = series.cast(pl.String)
            digest.update("\x1f".join((texts.fill_null("") if missing else texts).to_list()).encode())
        else:
            numbers = series.to_physical()
            whole = not missing and numbers.dtype.is_numeric()
            digest.update((numbers if whole else numbers.fill_null(0)).to_numpy().tobytes())
    return digest.hexdigest()


class Frozen(msgspec.Struct, frozen=True):
    """A record: immutable, readable as JSON."""


DEVICES = "[cC][oO][nN]|[pP][rR][nN]|[aA][uU][xX]|[nN][uU][lL]|([cC][oO][mM]|[lL][pP][tT])[0-9]"  # of Windows
SAFE_NAME = f"^(?!({DEVICES})$)[A-Za-z0-9_][A-Za-z0-9_-]{{0,63}}$(?!\\n)"
NAME = (
    "a name: at most 64 of the letters A-Z and a-z, digits, _ and -, beginning with no -, "
    "and no device of Windows (CON, NUL, COM1)"
)
Name = Annotated[str, Meta(pattern=SAFE_NAME, extra={"write": NAME})]
"""What files, folders and rows may be called after."""


def safe_name(name: str) -> str:
    """The name itself. Raises ValueError where a file must not be called so."""
    if not re.search(SAFE_NAME, name):
        raise ValueError(f"{name[:80]!r} is not {NAME}")
    return name


class Declared(Frozen, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """One kind of a thing that a deployment file declares: a class for each `kind`. Its fields can be read by key
    too, as in the file.
    """

    def __getitem__(self, key: str) -> Any:
        """The value of a key. Raises KeyError where it has none."""
        if key == self.__struct_config__.tag_field:
            return self.__struct_config__.tag
        if key not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, key)


Currency = Annotated[
    str, Meta(pattern="^[A-Z]{3}$(?!\\n)", extra={"write": "a currency by its ISO 4217 code, as in USD"})
]


class PluggedSource(Declared, frozen=True, kw_only=True):
    """What every source that is plugged in declares beside options of its own."""

    currency: Annotated[Currency, Meta(description="Of the prices, by its ISO 4217 code.")] = "USD"
    dataset: Annotated[str, Meta(description="What a feed brings rows of; `bars` for the source.")] = "bars"


Survivorship = NewType("Survivorship", str)
"""How the names were chosen: made by `guards.survivorship` alone."""

LookAhead = NewType("LookAhead", str)
"""That nothing was read before it was known: made by `guards.look_ahead` alone."""


class FeatureSnapshot(Frozen, frozen=True):
    """What a dataset that feeds a model was, so that it can be rebuilt from this alone.

    Of a training set also the label it learns (`label`, `horizon`) and its `first` session; of what a decision read,
    `trained_on`: the dataset_version that its model was trained on.
    """

    dataset_version: str
    feature_view: str
    feature_version: str
    as_of: datetime
    known_at_cutoff: datetime
    universe_id: str
    corporate_actions_policy: str  # adjusted | unadjusted | split-only
    survivorship_bias_guard: Survivorship
    lookahead_bias_guard: LookAhead
    timezone_policy: str  # exchange-local | UTC | settlement-local
    assumed_known_at: bool = False
    label: str = ""
    horizon: int = 0
    first: date | None = None
    trained_on: str = ""


class Capture(Frozen, frozen=True):
    """One delivery of a vendor.

    `prices`: symbol, session, open, high, low, close, volume, adj_close, file, line (parsed rows; adj_close may be
    null)
    `listings`: symbol, name, sector (sector may be null), or None where the vendor sends none
    `actions`: symbol, session (ex), kind, numerator, denominator, cash, value, counterpart, file, line, or None where
      the vendor declares none
    `malformed`: file, line, symbol, reason, content
    `dataset`: what the delivery is of. Where it is not of bars, `prices` is empty, and no name counts as absent.
    `others`: rows of other datasets by name: the dataset's own columns (typed, or text as it is in the file), file,
      line, and optionally known_at (UTC, where rows were known at different times), withdrawn, fault (why the row
      cannot
      be read; null where it can) and content (the text of such a row's line)
    `remarks`: symbol, file, line, rule, message: what was noticed of rows that are kept, and is reported as a finding
    `fingerprint`: the port's `fingerprints` of the label, for this very content; None where nothing changes
    `files`: all files that could be read, named as the rows name them in `file`, those without a row included; None
      where rows name them all
    """

    source: str
    label: date
    location: str
    sha256: str
    known_at: datetime
    assumed: bool
    prices: pl.DataFrame
    listings: pl.DataFrame | None
    actions: pl.DataFrame | None
    malformed: pl.DataFrame
    dataset: str = "bars"
    others: Mapping[str, pl.DataFrame] = msgspec.field(default_factory=dict)
    remarks: pl.DataFrame | None = None
    fingerprint: str | None = None
    files: frozenset[str] | None = None


Money = Annotated[Decimal, Meta(extra={"above": 0}, extra_json_schema={"type": ["string", "number"]})]
"""An exact amount above zero."""


Ratio = Annotated[
    Decimal,
    Meta(extra={"above": 0, "hint": "1 is all equity"}, extra_json_schema={"type": ["string", "number"]}),
]
"""An exact fraction of a book's equity, above zero."""


class BookLimits(Frozen, frozen=True, forbid_unknown_fields=True):
    """What a book may come to hold, as fractions of its equity: judged as it will be once all that works is filled.

    Orders that only reduce are never refused; the others are cut to what fits (`quant_assets.books.limits`). The
    defaults leave 5% for prices that move between a decision and its fill.
    """

    max_name: Annotated[Ratio, Meta(description="The most in one name, long or short.")] = Decimal("1.05")
    max_gross: Annotated[Ratio, Meta(description="The most that longs and shorts add up to.")] = Decimal("1.05")
    max_net: Annotated[Ratio, Meta(description="The most that longs are more than shorts, or shorts than longs.")] = (
        Decimal("1.05")
    )
    max_leverage: Annotated[
        Ratio, Meta(description="The most that longs and shorts add up to should no order that reduces be filled.")
    ] = Decimal("2.1")
    max_margin: Annotated[
        Ratio,
        Meta(
            description="The most that initial margins add up to: of each name what `instruments` has; where it has "
            "none, all that a future or perpetual contract is worth, and of other names nothing."
        ),
    ] = Decimal(1)
    min_cash: Annotated[
        Decimal,
        Meta(
            description="The least cash; below zero is what may be borrowed.",
            extra_json_schema={"type": ["string", "number"]},
        ),
    ] = Decimal("-0.05")
    funding: Annotated[
        Literal["with_sales", "after_sales"],
        Meta(
            description="What pays for purchases: cash and the sales that work beside them (of names that trade), or "
            "cash alone, so that they wait until the sales are filled."
        ),
    ] = "with_sales"


RESEARCH = "research"  # the broker of a book that trades nowhere


class Book(Frozen, frozen=True, forbid_unknown_fields=True):
    """An account that trades a strategy. Research books have no broker and can never be armed.

    Raises ValueError where a file could not be called after its name or its account.
    """

    name: Annotated[Name, Meta(description="What the book is called, in commands, rows and the names of pages.")]
    strategy: Annotated[Name, Meta(description="The name of the strategy that it trades.")]
    account: Annotated[
        Name,
        Meta(description="The account at the broker. Books may share one."),
    ]
    capital: Annotated[Money, Meta(description="With how much it begins, in its currency.")]
    currency: Annotated[
        Currency, Meta(description="In what it is kept. Prices in another one are converted by `fx_rates`.")
    ] = "USD"
    broker: Annotated[
        Plug, Meta(description="The venue where it trades; `research` trades nowhere.", extra={"plug": "broker"})
    ] = RESEARCH
    armed: Annotated[bool, Meta(description="Whether its orders are sent.")] = False
    max_order_notional: Annotated[Money, Meta(description="The largest order that leaves, in its currency.")] = Decimal(
        1_000_000
    )
    max_orders: Annotated[int, Meta(ge=1, le=1_000_000, description="Of one session; more are refused whole.")] = 2_000
    limits: Annotated[BookLimits, Meta(description="What it may come to hold.")] = BookLimits()
    costs: Annotated[
        Plug | msgspec.UnsetType,
        Meta(
            description="What trading costs where its fills are simulated, instead of per_share.",
            extra={"plug": "costs"},
        ),
    ] = msgspec.UNSET
    quoted: Annotated[
        Currency | msgspec.UnsetType,
        Meta(
            description="In what prices are quoted of names whose currency `instruments` does not have: that of their "
            "market's source where it is unset. GBX (pence), ZAC and ILA are hundredths."
        ),
    ] = msgspec.UNSET
    quoted_elsewhere: Annotated[
        dict[str, Currency] | msgspec.UnsetType,
        Meta(description="The same of names of the other markets of its strategy, by calendar."),
    ] = msgspec.UNSET

    def __post_init__(self) -> None:
        """See the class."""
        for name in (self.name, self.strategy, self.account):
            safe_name(name)

    @property
    def priced_in(self) -> str:
        """In what the names are quoted of which the security master has nothing."""
        return self.currency if isinstance(self.quoted, msgspec.UnsetType) else self.quoted

    @property
    def elsewhere(self) -> Mapping[str, str]:
        """In what the names of other markets are quoted, by calendar."""
        return {} if isinstance(self.quoted_elsewhere, msgspec.UnsetType) else self.quoted_elsewhere

    @property
    def research(self) -> bool:
        """Whether the book exists for research only."""
        return self.venue == RESEARCH

    @property
    def venue(self) -> str:
        """The name of its broker."""
        return name_of(self.broker)


SLOT = "open"  # the moment of a day at which its strategies decide


class OrderState(StrEnum):
    """Where an order stands; see `quant_assets.execution.outbox` for the transitions."""

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    ACKED = "ACKED"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}


class Order(Frozen, frozen=True):
    """An intent for the venue: `side` is +1 or -1, `quantity` whole shares, to be filled at the open of `session` or
    carried until `good_till`.
    """

    client_order_id: str
    book: str
    strategy: str
    decided: date
    session: date
    good_till: date
    slot: str
    sid: int
    leg: str
    symbol: str
    side: int
    quantity: int
    reference_price: Decimal
    decision_id: str


class Working(Frozen, frozen=True):
    """An order as we see it, and how far it is: `filled` counts shares from its beginning.

    `key` identifies it where a venue holds several orders under one client order id; by default it is that id.
    """

    order: Order
    state: OrderState = OrderState.ACKED
    filled: int = 0
    reason: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """See the class."""
        if not self.key:
            msgspec.structs.force_setattr(self, "key", self.order.client_order_id)

    @property
    def remaining(self) -> int:
        """Shares still to be filled."""
        return self.order.quantity - self.filled


class Part(Frozen, frozen=True):
    """What a book's order is of its account's, where several books trade it: `crossed` counts are traded with other
    books at the auction's price, `ordered` counts are of the account's order `parent`. Both are 0 where it did not
    leave.
    """

    client_order_id: str
    account: str
    book: str
    session: date
    slot: str
    sid: int
    side: int
    parent: str
    crossed: int
    ordered: int


class BrokerOrder(Frozen, frozen=True):
    """An order as the venue sees it."""

    client_order_id: str
    broker_order_id: str
    sid: int
    side: int
    quantity: int
    filled: int
    state: OrderState
    reason: str = ""


class Execution(Frozen, frozen=True):
    """One execution as the venue reports it. `fee` is None where its commission comes apart.

    `corrects`: the exec_id that it replaces, where the venue names one; with a quantity of 0 it is a bust of that one.
    """

    exec_id: str
    client_order_id: str
    sid: int
    side: int
    quantity: int
    price: Decimal
    ts: datetime
    fee: Decimal | None = None
    corrects: str = ""


class Commission(Frozen, frozen=True):
    """A fee that the venue reports apart from its execution.

    As we book it, also the difference by which a fee was restated: `corrects` names the execution, `exec_id` the entry.
    """

    exec_id: str
    fee: Decimal
    corrects: str = ""

    @property
    def execution(self) -> str:
        """The exec_id of the fill that it is charged on."""
        return self.corrects or self.exec_id


class Coverage(Frozen, frozen=True):
    """From when on the venue vouches for its record; None: from the beginning of the account."""

    executions_since: datetime | None = None
    orders_since: datetime | None = None


class Events(Frozen, frozen=True):
    """What a venue reports since a cursor: executions, commissions that came apart, and orders whose state changed.

    `cursor`: ask for what comes after. `coverage`: what the venue vouches for, whatever was asked.
    """

    cursor: str
    executions: tuple[Execution, ...] = ()
    commissions: tuple[Commission, ...] = ()
    orders: tuple[BrokerOrder, ...] = ()
    coverage: Coverage = Coverage()


REVERSAL, VERSION = "~bust", "~v"  # what is put behind an exec_id: the entry that reverses it; a restatement in place


class Fill(Frozen, frozen=True):
    """One execution as we book it: the venue's, and what is ours of it.

    `session`: of the book's calendar at `ts`. `arrival_price`: the market when the order could first trade, before
    costs. `fee`: 0 where the venue reports it apart. `corrects`: the exec_id that it replaces or reverses; what came
    after the first is booked in the session that saw it. A quantity of 0 records a bust, or a correction that
    was itself corrected before it was booked.
    """

    exec_id: str
    client_order_id: str
    session: date
    sid: int
    side: int
    quantity: int
    price: Decimal
    fee: Decimal
    arrival_price: Decimal
    ts: datetime
    corrects: str = ""

    @property
    def reverses(self) -> bool:
        """Whether it is the entry that takes back the fill that it corrects."""
        return bool(self.corrects) and self.exec_id == self.corrects + REVERSAL

    @property
    def reported_as(self) -> str:
        """The venue's own exec_id: one that it restated in place is booked under an id with a number behind it."""
        name, mark, number = self.exec_id.rpartition(VERSION)
        return name if mark and number.isdecimal() and self.corrects else self.exec_id


class Mark(Frozen, frozen=True):
    """How far a table had come when its last rows were reported as stored: its version, and the SHA-256 of the log
    entry that made it.
    """

    version: int
    entry: str


class Notice(Frozen, frozen=True):
    """A message to people: `times` it happened from `at` to `last`; `by`: who acknowledged it."""

    id: str
    at: datetime
    last: datetime
    severity: str
    subject: str
    body: str
    times: int
    by: str = ""


class Switch(Frozen, frozen=True):
    """A kill switch: whether it is on, the reason given, and for whom: `all`, `account NAME` or `book NAME`."""

    on: bool
    reason: str
    scope: str


class Break(Frozen, frozen=True):
    """A difference between two ledgers that nobody has explained yet."""

    break_id: str
    book: str
    session: date
    kind: str  # order | fill | position | cash
    subject: str
    ours: str
    theirs: str


class Entry(Frozen, frozen=True):
    """What a person books by hand: `quantity` shares of `sid` more (or less), and `amount` of cash more (or less).

    `session`: booked with it, or with the first one after it that is not booked yet. `corrects`: the exec_id that it
    puts right, if any. Without a name (`sid` 0) it moves cash alone, in `currency`, which is the book's where it is
    empty; cash with a name is in that name's.
    """

    entry_id: str
    book: str
    session: date
    sid: int
    quantity: int
    amount: Decimal
    corrects: str
    by: str
    reason: str
    at: datetime
    currency: str = ""


class Artifact(Frozen, frozen=True):
    """A fitted model as it is stored: no object is pickled.

    `schema`: the hash of the features that it reads, in order.
    """

    family: str
    content: str | bytes
    schema: str


class Act(Frozen, frozen=True):
    """What a person answers for: who did it, why, and when by the wall. It goes to the audit."""

    by: str
    reason: str
    at: datetime


class Provenance(Frozen, frozen=True):
    """What is recorded beside a result and never hashed into an id."""

    table_versions: Mapping[str, int]
    commit: str
    lock_hash: str
    run_id: str
    machine: str = ""  # the architecture, as `quant_assets.portable.architecture` names it


class StageReport(Frozen, frozen=True):
    """What a stage did: shown by the CLI, attached to the asset as metadata. `state`: done | empty | refused.
    `numbers` add up over reports; `measures` do not: shown where one report has them.
    """

    stage: str
    first: date
    last: date
    state: str
    reason: str = ""
    rows: int = 0
    numbers: Mapping[str, float] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = msgspec.field(default_factory=dict)
    book: str = ""
    measures: Mapping[str, float] = msgspec.field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The report as flat, stable names."""
        return {
            "state": self.state,
            "rows": self.rows,
            **({"reason": self.reason} if self.reason else {}),
            **self.numbers,
            **self.measures,
        }
