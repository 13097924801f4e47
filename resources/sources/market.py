"""A seeded market with known truth: prices from a factor model, and everything that happens to real names.

Log returns are market + sector + idiosyncratic (Student t, 5 degrees of freedom), symmetric around zero and
independent over time, split into an overnight and an intraday part. The planted signal: a session's volume surge

    x(t) = z-score across names of log(mean volume of 5 sessions / mean volume of 20 sessions), split-adjusted,

adds k · x(t) to the log return of each of the next five sessions, open to open from t+1. k is solved so that the
mean rank correlation of x(t) with the return from open(t+1) to open(t+6) rises by `Market.signal` over the same
market without it. Volume never looks at prices, so with `signal=0` nothing predicts anything.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import sha256
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from quant_assets.calendars import Calendar
from quant_assets.errors import ConfigurationError
from quant_assets.portable import exp, log
from quant_assets.records import Declared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Rate = Annotated[float, Meta(ge=0, le=50)]

WARM_UP = 25  # sessions generated ahead of the first, so that surges have a past
HORIZON = 5
DECLARED_AHEAD = 10  # sessions from declaration to ex
SECTORS = (
    "Energy",
    "Materials",
    "Industrials",
    "Discretionary",
    "Staples",
    "Health",
    "Financials",
    "Technology",
    "Communication",
    "Utilities",
    "Real Estate",
)
NEVER = 1 << 30
FORWARD = ((3, 2), (2, 1), (3, 1), (4, 1))
REVERSE = ((1, 4), (1, 5), (1, 10))


class Simulated(Declared, frozen=True, kw_only=True, tag="simulated"):
    """A simulated market, as it is declared.

    The market of [first, last] is one whole: another `last` is another market.

    Rates of events are per name and year, of late, missing and thin captures per session, of broken rows per row.
    A rate above zero means at least one where there is room for it; zero switches the thing off.
    """

    first: Annotated[date, Meta(description="The first session of the market.")]
    last: Annotated[date, Meta(description="The last session of the market.")]
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647, description="Another seed is another market.")] = 7
    names: Annotated[int, Meta(ge=1, le=8_000, description="Companies at the beginning.")] = 300
    signal: Annotated[float, Meta(ge=-1, le=1, description="Mean rank correlation of the planted signal.")] = 0.0
    splits: Annotated[Rate, Meta(description="Per name and year.")] = 0.08
    payers: Annotated[float, Meta(ge=0, le=1, description="Share of names with a quarterly dividend.")] = 0.5
    delistings: Annotated[Rate, Meta(description="Per name and year.")] = 0.04
    listings: Annotated[Rate, Meta(description="Per name and year.")] = 0.04
    symbol_changes: Annotated[Rate, Meta(description="Per name and year.")] = 0.03
    reuses: Annotated[float, Meta(ge=0, le=1, description="Share of dead symbols that a new company takes.")] = 0.5
    halts: Annotated[Rate, Meta(description="Per name and year.")] = 0.05
    restatements: Annotated[float, Meta(ge=0, le=1, description="Of rows.")] = 2e-4
    duplicates: Annotated[float, Meta(ge=0, le=1, description="Of rows.")] = 2e-4
    conflicts: Annotated[float, Meta(ge=0, le=1, description="Of rows.")] = 1e-4
    malformed: Annotated[float, Meta(ge=0, le=1, description="Of rows.")] = 2e-4
    late: Annotated[float, Meta(ge=0, le=1, description="Of captures.")] = 0.01
    missing: Annotated[float, Meta(ge=0, le=1, description="Of captures.")] = 0.006
    thin: Annotated[float, Meta(ge=0, le=1, description="Of captures.")] = 0.006
    declares_actions: Annotated[
        bool, Meta(description="Otherwise adj_close tells of them, as in the vendor's drops.")
    ] = True

    delivered: Annotated[
        Annotated[int, Meta(ge=0, le=1440)] | None,
        Meta(description="Minutes after its close; by default a session comes at 11:00 UTC a day later."),
    ] = None

    @property
    def currency(self) -> str:
        """In what its prices are."""
        return "USD"


class Market(Simulated, frozen=True, kw_only=True):
    """What is simulated, on the sessions of a calendar."""

    calendar: Calendar

    def random(self, what: str) -> np.random.Generator:
        """An own stream for each thing, so that switching one off leaves the others as they are."""
        return np.random.Generator(
            np.random.PCG64([self.seed, int.from_bytes(sha256(what.encode()).digest()[:8], "big")])
        )


@dataclass(frozen=True, kw_only=True)
class Names:
    """The companies: position by position, with times as positions of sessions."""

    begin: Ints  # first session
    end: Ints  # first session without trading, NEVER for those that live on
    merged: Flags  # of those that end: bought (announced ahead) rather than failed
    value: Floats  # return from the last close to the proceeds
    changed: Ints  # first session under the second symbol
    symbols: tuple[list[str], list[str]]
    titles: list[str]
    sectors: Ints


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The market as it happened: arrays of sessions × companies."""

    config: Market
    sessions: list[date]
    names: Names
    prices: dict[str, Floats]  # open, high, low, close: raw, in cents; NaN never
    volume: Ints
    trades: Flags  # listed and not halted
    listed: Flags
    numerator: Ints  # of splits by ex-session, 1 elsewhere
    denominator: Ints
    cash: Floats  # dividends by ex-session, 0 elsewhere
    surge: Floats  # the characteristic x(t)
    strength: float  # k

    def symbol(self, company: int, t: int) -> str:
        """What the company is called in session `t`."""
        return self.names.symbols[int(t >= self.names.changed[company])][company]


def occurrences(rate: float, exposure: float, room: int) -> int:
    """How often a thing of this rate happens: at least once where there is room."""
    return min(room, int(np.ceil(rate * exposure))) if rate > 0 else 0


def _names(m: Market, sessions: int) -> Names:
    random = m.random("names")
    years = m.names * sessions / 252
    middle = max(0, sessions - 4)  # nothing begins or ends in the first and last two sessions
    deaths = occurrences(m.delistings, years, min(m.names // 2, middle * m.names))
    births = occurrences(m.listings, years, middle * m.names)
    total = m.names + births
    begin, end, changed = np.zeros(total, np.int64), np.full(total, NEVER), np.full(total, NEVER)
    dying = random.permutation(m.names)[:deaths]
    end[dying] = np.sort(random.integers(3, max(4, sessions - 2), deaths))
    begin[m.names :] = random.integers(2, max(3, sessions - 1), births)

    pool = random.permutation(26**3)
    codes = [chr(65 + c // 676) + chr(65 + c // 26 % 26) + chr(65 + c % 26) for c in pool.tolist()]
    if 2 * total > len(codes):
        raise ConfigurationError(
            f"a market of {m.names} names over {sessions} sessions needs {2 * total} symbols; there are {len(codes)}"
        )
    first, second = codes[:total], codes[total : 2 * total]
    reused = 0
    for dead in dying.tolist():  # in the order of their ends: the earliest leave time for a successor
        begins = int(end[dead] + random.integers(2, 20))
        if reused < min(births, np.ceil(m.reuses * deaths)) and begins < sessions - 1:
            heir = m.names + reused
            begin[heir], first[heir] = begins, first[dead]
            reused += 1
    settled = np.flatnonzero((end == NEVER) & (begin == 0))
    renamed = random.permutation(settled)[: occurrences(m.symbol_changes, years, min(middle, 1) * len(settled))]
    changed[renamed] = random.integers(2, max(3, sessions - 2), len(renamed))
    merged = random.random(total) < 0.6
    value: Floats = np.where(merged, random.uniform(0.0, 0.04, total), -random.uniform(0.2, 0.9, total))
    return Names(
        begin=begin,
        end=end,
        merged=merged,
        value=value.round(4),
        changed=changed,
        symbols=(first, second),
        titles=[
            f"{_WORDS[i % len(_WORDS)]} {_KINDS[i // len(_WORDS) % len(_KINDS)]} {i:04d} Inc" for i in range(total)
        ],
        sectors=random.integers(0, len(SECTORS), total),
    )


_WORDS = (
    "Alder",
    "Birch",
    "Cedar",
    "Dogwood",
    "Elm",
    "Fir",
    "Gorse",
    "Hazel",
    "Ironwood",
    "Juniper",
    "Larch",
    "Maple",
    "Oak",
    "Pine",
    "Rowan",
    "Spruce",
    "Walnut",
    "Yew",
)
_KINDS = ("Industries", "Energy", "Systems", "Foods", "Bancorp", "Therapeutics", "Networks", "Materials", "Properties")


def _volumes(m: Market, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Split-adjusted log volume (a slow drift, so that liquidity ranks change, and shocks that decay) and its surge."""
    random = m.random("volume")
    level = random.normal(13.0, 1.2, shape[1]) + np.cumsum(random.normal(0.0, 0.03, shape), axis=0)
    shocks = random.normal(0.0, 0.25, shape)
    for t in range(1, shape[0]):
        shocks[t] += 0.8 * shocks[t - 1]
    log_volume = level + shocks + random.normal(0.0, 0.25, shape)
    total = np.cumsum(np.vstack([np.zeros((1, shape[1])), exp(log_volume)]), axis=0)
    surge = np.zeros(shape)
    surge[20:] = log((total[21:] - total[16:-5]) / 5 / ((total[21:] - total[1:-20]) / 20))
    spread = surge.std(axis=1, keepdims=True)
    return log_volume, np.clip(
        np.divide(surge - surge.mean(axis=1, keepdims=True), spread, out=np.zeros(shape), where=spread > 0), -3, 3
    )


def _half_steps(m: Market, names: Names, sessions: int) -> tuple[Floats, Floats, Floats]:
    """Log returns overnight and intraday without the signal, and each company's daily volatility."""
    random = m.random("prices")
    companies = len(names.begin)
    beta = random.normal(1.0, 0.3, companies)
    sigma = exp(random.normal(float(log(0.016)), 0.35, companies))
    share = np.sqrt(np.array([0.3, 0.7]))[:, None]  # of variance: overnight, intraday
    steps = (sessions, 2)
    market = random.normal(0.0, 0.008, (*steps, 1)) * beta
    sector = random.normal(0.0, 0.005, (*steps, len(SECTORS)))[:, :, names.sectors]
    own = random.standard_t(5, (*steps, companies)) / np.sqrt(5 / 3) * sigma
    returns = (market + sector + own) * share
    return returns[:, 0], returns[:, 1], np.sqrt(sigma * sigma + 0.008 * 0.008 + 0.005 * 0.005)


def _forward(steps: Floats) -> Floats:
    """For each session t the sum of `steps` over sessions t+1 … t+HORIZON; shorter by HORIZON."""
    total = np.cumsum(np.vstack([np.zeros((1, steps.shape[1])), steps]), axis=0)
    return total[HORIZON + 1 :] - total[1:-HORIZON]


def _rank_ic(x: Floats, y: Floats) -> float:
    """The mean over sessions of the rank correlation across names; equal values rank in the order of names."""
    ranks = [v.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") - (v.shape[1] - 1) / 2 for v in (x, y)]
    return float(((ranks[0] * ranks[1]).sum(axis=1) / (ranks[0] * ranks[0]).sum(axis=1)).mean())


def _drift(signal: float, surge: Floats, overnight: Floats, intraday: Floats) -> tuple[Floats, float]:
    """What the signal adds to each session's intraday log return, and its k."""
    unit = np.zeros_like(surge)
    for lag in range(1, HORIZON + 1):
        unit[lag:] += surge[:-lag]
    if signal == 0:
        return np.zeros_like(surge), 0.0
    if surge.shape[0] - 1 - WARM_UP < HORIZON + 1 or surge.shape[1] < 2:
        raise ConfigurationError(f"a signal needs at least {HORIZON + 2} sessions and two names")
    open_to_open = intraday[:-1] + overnight[1:]
    noise, gain = _forward(open_to_open)[WARM_UP:], _forward(unit[:-1])[WARM_UP:]
    x = surge[WARM_UP : WARM_UP + len(noise)]
    k = signal * noise.std() / gain.std()
    for _ in range(2):  # the rank correlation is nearly linear in k
        k *= signal / (_rank_ic(x, noise + k * gain) - _rank_ic(x, noise))
    return k * unit, float(k)


@dataclass(frozen=True, kw_only=True)
class _Adjusted:
    """Raw = adjusted × factor; the events that make the factor."""

    factor: Floats
    shares: Floats
    numerator: Ints
    denominator: Ints
    cash: Floats


def _actions(m: Market, names: Names, close: Floats) -> _Adjusted:
    """Splits (by price: dear ones forward, cheap ones in reverse) and quarterly dividends, set 10 sessions ahead."""
    random = m.random("actions")
    shape = close.shape
    sessions = shape[0] - WARM_UP
    numerator, denominator = np.ones(shape, np.int64), np.ones(shape, np.int64)
    cash, factor, shares = np.zeros(shape), np.ones(shape), np.ones(shape)
    alive = (np.arange(shape[0])[:, None] - WARM_UP > names.begin + 1) & (
        np.arange(shape[0])[:, None] - WARM_UP < names.end
    )
    alive[: WARM_UP + 2] = False
    cells = np.flatnonzero(alive)
    split = np.zeros(shape, np.bool_)
    split.flat[random.permutation(cells)[: occurrences(m.splits, m.names * sessions / 252, len(cells))]] = True
    pays = random.random(shape[1]) < m.payers
    phase, rate, pick = (
        random.integers(0, 63, shape[1]),
        random.uniform(0.002, 0.012, shape[1]),
        random.integers(0, 12, shape),
    )
    for t in range(1, shape[0]):
        before, seen = (
            np.maximum(np.round(close[at] * factor[at], 2), 0.01) for at in (t - 1, max(t - DECLARED_AHEAD, 0))
        )
        for i in np.flatnonzero(split[t]):
            kinds = FORWARD if seen[i] >= 25 else REVERSE
            numerator[t, i], denominator[t, i] = kinds[pick[t, i] % len(kinds)]
        shares[t] = shares[t - 1] * numerator[t] / denominator[t]
        quiet = ~split[max(0, t - DECLARED_AHEAD) : t + 1].any(axis=0)
        due = pays & alive[t] & quiet & ((t + phase) % 63 == 0) & (seen >= 2)
        cash[t] = np.where(due, np.maximum(np.round(rate * seen, 2), 0.01), 0.0)
        factor[t] = factor[t - 1] * denominator[t] / numerator[t] * (1 - cash[t] / before)
    return _Adjusted(factor=factor, shares=shares, numerator=numerator, denominator=denominator, cash=cash)


def _trades(m: Market, listed: Flags, events: Flags) -> Flags:
    """Listed and not halted. Halts last one to five sessions and touch no ex-session, listing or end."""
    random = m.random("halts")
    sessions, companies = listed.shape
    halted = np.zeros_like(listed)
    for _ in range(occurrences(m.halts, m.names * sessions / 252, sessions * companies)):
        start, length = random.integers(1, max(2, sessions - 1)), random.integers(1, 6)
        halted[start : min(start + length, sessions - 1), random.integers(0, companies)] = True
    edge = listed ^ np.vstack([listed[:1], listed[:-1]])
    fixed = events | edge
    fixed[:-1] |= fixed[1:].copy()
    return listed & ~(halted & ~fixed)


@cache
def paths(m: Market) -> Paths:
    """The whole market, the same bits for the same `Market`."""
    sessions = m.calendar.between(m.first, m.last)
    if len(sessions) < 2:
        raise ConfigurationError(f"a market needs at least two sessions; {m.first} to {m.last} has {len(sessions)}")
    names = _names(m, len(sessions))
    span = len(sessions) + WARM_UP
    log_volume, surge = _volumes(m, (span, len(names.begin)))
    overnight, intraday, sigma = _half_steps(m, names, span)
    drift, strength = _drift(m.signal, surge, overnight, intraday)
    level = np.cumsum(np.stack([overnight, intraday + drift], axis=1).reshape(2 * span, -1), axis=0).reshape(
        span, 2, -1
    )
    random = m.random("levels")
    level += random.normal(float(log(45.0)), 0.6, len(names.begin))
    wicks = np.abs(random.normal(0.0, 0.4, (2, *surge.shape))) * sigma
    adjusted = {
        "open": exp(level[:, 0]),
        "close": exp(level[:, 1]),
        "high": exp(level.max(axis=1) + wicks[0]),
        "low": exp(level.min(axis=1) - wicks[1]),
    }
    actions = _actions(m, names, adjusted["close"])
    seen = slice(WARM_UP, None)
    prices = {
        c: np.maximum(np.round(adjusted[c] * actions.factor, 2), 0.01)[seen] for c in ("open", "high", "low", "close")
    }
    when = np.arange(len(sessions))[:, None]
    listed = (when >= names.begin) & (when < names.end)
    events = (actions.numerator != actions.denominator) | (actions.cash > 0)
    return Paths(
        config=m,
        sessions=sessions,
        names=names,
        prices=prices,
        volume=np.maximum(np.round(exp(log_volume) * actions.shares, -2), 100)[seen].astype(np.int64),
        trades=_trades(m, listed, events[seen]),
        listed=listed,
        numerator=actions.numerator[seen],
        denominator=actions.denominator[seen],
        cash=actions.cash[seen],
        surge=surge[seen],
        strength=strength,
    )
