"""A seeded market of futures and coins, with the terms of each: contracts that expire one after the other while volume
moves to the next, and coins that are counted in 1e-8.

A root's spot price is a random walk in which part of the mean return of the last five sessions goes on (`trend`). A
contract costs the spot price with `carry` a year until its expiry, on its tick: so each contract is dearer than the one
before it, and a series that does not take the roll into account jumps up four times a year.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from itertools import islice
from typing import Annotated

import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable
from quant_assets.portable import exp
from quant_assets.records import Capture, Currency, Declared
from quant_assets.vendor_tables import INSTRUMENTS, OPEN_INTEREST
from resources.sources.rows import LISTINGS, MALFORMED, PRICES

Floats = NDArray[np.float64]
MONTHS: Mapping[int, str] = {3: "H", 6: "M", 9: "U", 12: "Z"}
ARRIVES = timedelta(minutes=30)  # before the next open
LISTED = 3  # contracts of a root that trade at one time
MOVES = 8  # sessions before a contract's first notice or expiry at which half the volume is in the next one
WARM_UP = 5


class Contracts(Declared, frozen=True, kw_only=True, tag="simulated_contracts"):
    """A simulated market of futures and coins, as it is declared. Another `last` continues the same market.

    Each root has quarterly contracts; every second one is delivered, and has a first notice day.
    """

    first: Annotated[date, Meta(description="The first session of the market.")]
    last: Annotated[date, Meta(description="The last session of the market.")]
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647, description="Another seed is another market.")] = 7
    roots: Annotated[int, Meta(ge=0, le=26, description="Underlyings with quarterly futures.")] = 2
    coins: Annotated[int, Meta(ge=0, le=26, description="Coins, counted in 1e-8.")] = 0
    carry: Annotated[float, Meta(ge=-0.5, le=0.5, description="A year, that later contracts cost more.")] = 0.04
    trend: Annotated[float, Meta(ge=0, lt=1, description="Of the mean return of five sessions, what goes on.")] = 0.3
    currency: Annotated[Currency, Meta(description="In what its prices are.")] = "USD"


class Contract:
    """A future of a root: its symbol, the day of its expiry, and its first notice (None: settled in cash)."""

    def __init__(self, root: int, year: int, month: int, calendar: Calendar) -> None:
        first = date(year, month, 1)
        friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
        self.root = root
        self.chain = f"F{chr(65 + root)}"
        self.symbol = f"{self.chain}{MONTHS[month]}{year % 100:02d}"
        self.name = f"{self.chain} future {year}-{month:02d}"
        self.expiry = calendar.on_or_before(friday)
        self.first_notice = calendar.before(calendar.on_or_after(first)) if root % 2 else None
        self.multiplier = "50" if root % 2 == 0 else "1000"


class SimulatedContracts:
    """The MarketDataSource port on a market of `Contracts`: one capture a session, which brings the terms of what is
    new in it.
    """

    name = "simulated_contracts"

    def __init__(self, market: Contracts, calendar: Calendar) -> None:
        self.market = market
        self.calendar = calendar
        self._made: dict[tuple[int, int, int], Contract] = {}

    @cached_property
    def sessions(self) -> list[date]:
        """The sessions of the market."""
        return self.calendar.between(self.market.first, self.market.last)

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return [s for s in self.sessions if (first is None or s >= first) and (last is None or s <= last)]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: what was made once is made the same for ever."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where there is no capture of that label."""
        if label not in self.sessions:
            raise CaptureUnreadable(
                f"{self.name}: no capture is labelled {label}; the market runs from {self.market.first} to "
                f"{self.market.last}"
            )
        t = self.sessions.index(label)
        futures = self._listed(label)
        prices = _numbered([*self._future_rows(futures, t), *self._coin_rows(t)], PRICES, f"{label:%Y%m%d}.csv")
        names = [(c.symbol, c.name, "Futures") for c in futures]
        names += [(self._coin(i), f"{self._coin(i)} spot", "Coins") for i in range(self.market.coins)]
        others = {INSTRUMENTS.name: self._terms(label, futures, t), OPEN_INTEREST.name: self._interest(futures, t)}
        kept = {name: frame for name, frame in others.items() if frame.height}
        written = [prices.write_csv(), *(frame.write_csv() for frame in kept.values())]
        return Capture(
            source=self.name,
            label=label,
            location=f"simulated contracts, seed {self.market.seed}",
            sha256=hashlib.sha256("\0".join(written).encode()).hexdigest(),
            known_at=self.calendar.open(self.calendar.shift(label, 1)) - ARRIVES,
            assumed=False,
            prices=prices,
            listings=pl.DataFrame(names, schema=LISTINGS, orient="row").sort("symbol"),
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
            others=kept,
        )

    def _listed(self, session: date) -> list[Contract]:
        """The contracts that trade in a session: of each root the next ones to expire."""
        months = [(session.year + n, month) for n in range(2) for month in MONTHS]
        found: list[Contract] = []
        for root in range(self.market.roots):
            # made one after the other: what expires a year from now may lie beyond what the calendar knows
            coming = (self._contract(root, *when) for when in months if date(*when, 28) >= session)
            found += islice((c for c in coming if c.expiry >= session), LISTED)
        return found

    def _contract(self, root: int, year: int, month: int) -> Contract:
        key = (root, year, month)
        if key not in self._made:
            self._made[key] = Contract(root, year, month, self.calendar)
        return self._made[key]

    def _future_rows(self, futures: Sequence[Contract], t: int) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for contract in futures:
            left = (contract.expiry - self.sessions[t]).days
            dearer = float(exp(np.array([self.market.carry * left / 365]))[0])
            bar = self._bar(contract.root, t) * dearer
            volume = round(self._volume(contract.root, t) * self._share(contract, futures, t))
            rows.append((contract.symbol, self.sessions[t], *_on_tick(bar, 0.25), volume, None))
        return rows

    def _coin_rows(self, t: int) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for i in range(self.market.coins):
            root = self.market.roots + i
            bar = _on_tick(self._bar(root, t) * 10, 0.01)
            rows.append((self._coin(i), self.sessions[t], *bar, round(self._volume(root, t)), None))
        return rows

    def _coin(self, position: int) -> str:
        return f"C{chr(65 + position)}{self.market.currency}"

    def _share(self, contract: Contract, futures: Sequence[Contract], t: int) -> float:
        """The part of the root's volume that is in the contract: it moves to the next around `MOVES` sessions before
        the first notice, or the expiry.
        """
        chain = [c for c in futures if c.root == contract.root]
        place = chain.index(contract)
        end = chain[0].first_notice or chain[0].expiry
        left = self.calendar.index(end) - self.calendar.index(self.sessions[t])
        front = 1 / (1 + float(exp(np.array([-(left - MOVES) / 1.5]))[0]))
        return (0.95 * front, 0.04 + 0.95 * (1 - front), 0.01)[place]

    def _terms(self, label: date, futures: Sequence[Contract], t: int) -> pl.DataFrame:
        """Rows of `instruments` of what was not listed in the session before."""
        before = {c.symbol for c in self._listed(self.sessions[t - 1])} if t else set[str]()
        calendar, currency = self.calendar.code, self.market.currency
        rows: list[tuple[object, ...]] = [
            (
                *(label, calendar, c.symbol, "future", currency, "0.25", "1", c.multiplier, None, c.chain),
                *(c.expiry, c.first_notice, "0.1", None),
            )
            for c in futures
            if c.symbol not in before
        ]
        rows += [
            (
                label,
                calendar,
                self._coin(i),
                "spot",
                currency,
                "0.01",
                "0.00000001",
                "1",
                "5",
                None,
                None,
                None,
                None,
                None,
            )
            for i in range(self.market.coins if t == 0 else 0)
        ]
        columns = {c: INSTRUMENTS.schema[c] for c in list(INSTRUMENTS.schema)[:14]}
        texts = {c: pl.String for c, t in columns.items() if t.is_decimal()}
        return _numbered(rows, {**columns, **texts, **_PLACE}, f"{label:%Y%m%d}_terms.csv")

    def _interest(self, futures: Sequence[Contract], t: int) -> pl.DataFrame:
        """Rows of `open_interest`: it follows volume."""
        rows: list[tuple[object, ...]] = [
            (self.sessions[t], self.calendar.code, c.symbol, round(200_000 * self._share(c, futures, t)))
            for c in futures
        ]
        columns = {c: OPEN_INTEREST.schema[c] for c in ("session", "calendar", "symbol", "open_interest")}
        return _numbered(rows, {**columns, **_PLACE}, f"{self.sessions[t]:%Y%m%d}_interest.csv")

    def _bar(self, root: int, t: int) -> Floats:
        """open, high, low and close of a root's spot."""
        return self._paths[root][t]

    def _volume(self, root: int, t: int) -> float:
        return float(50_000 + 100_000 * self._random(f"volume {root}").random(t + 1)[t])

    def _random(self, what: str) -> np.random.Generator:
        """A stream for each thing, drawn session by session: a later `last` goes on with the same market."""
        seed = [self.market.seed, int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big")]
        return np.random.Generator(np.random.PCG64(seed))

    @cached_property
    def _paths(self) -> list[Floats]:
        return [self._path(root) for root in range(self.market.roots + self.market.coins)]

    def _path(self, root: int) -> Floats:
        """Sessions × (open, high, low, close) of a root."""
        drawn = self._random(f"path {root}").random((len(self.sessions) + WARM_UP, 4)) - 0.5
        moves = drawn[:, :2] * 0.03  # overnight and by day: symmetric, at most 1.5%
        daily: list[float] = []
        for t, noise in enumerate(moves.sum(axis=1)):
            past = daily[max(0, t - 5) : t]
            daily.append(float(noise) + (self.market.trend * sum(past) / len(past) if past else 0.0))
        whole = np.array(daily[WARM_UP:])
        night = moves[WARM_UP:, 0]
        level = 2000.0 * (1 + root)
        close = level * exp(np.cumsum(whole))
        opened = np.concatenate([[level], close[:-1]]) * exp(night)
        reach = exp(np.abs(drawn[WARM_UP:, 2:]) * 0.01)
        high, low = np.maximum(opened, close) * reach[:, 0], np.minimum(opened, close) / reach[:, 1]
        return np.stack([opened, high, low, close], axis=1)


_PLACE = {"file": pl.String, "line": pl.Int64}


def _numbered(
    rows: Sequence[tuple[object, ...]], schema: Mapping[str, pl.DataType | type[pl.DataType]], file: str
) -> pl.DataFrame:
    """Rows without file and line, which are added."""
    placed = [(*row, file, line) for line, row in enumerate(rows, start=2)]
    return pl.DataFrame(placed, schema=dict(schema), orient="row")


def _on_tick(bar: Floats, tick: float) -> list[float]:
    """The prices on their tick; high and low still bound the others, as rounding keeps the order."""
    return [round(round(float(price) / tick) * tick, 10) for price in bar]
