"""What a careless vendor makes of a market: which captures come late, thin or never, and which rows are broken."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from resources.sources.market import Floats, Ints, Market, Paths, occurrences, paths
from resources.sources.rows import FIELDS, HEADER

LAGS = 3  # a restatement comes at most so many sessions later
MALFORMED = ("price is no number", "negative price", "high below low", "garbage line")


@dataclass(frozen=True)
class Defect:
    """A broken row: company `i` of session `t`, in the capture labelled `t`.

    A restatement corrects it `lag` sessions later.
    """

    kind: str  # restatement | duplicate | conflict | malformed
    t: int
    i: int
    lag: int = 0
    detail: str = ""
    size: float = 0.0


@dataclass(frozen=True)
class Deliveries:
    """Positions of sessions whose capture is missing, thin or late, and the broken rows by session."""

    missing: frozenset[int]
    thin: frozenset[int]
    late: frozenset[int]
    defects: tuple[Defect, ...]
    by_session: dict[int, list[Defect]]


@cache
def deliveries(m: Market) -> Deliveries:
    """The vendor's schedule. Whatever is lost or broken in one delivery is right in a later one."""
    market = paths(m)
    random = m.random("deliveries")
    ends = set((market.names.end - 1).tolist())
    count = len(market.sessions)
    free = [t for t in range(1, count - 2) if t not in ends]  # an ending name has no later delivery to be right in
    order = random.permutation(free).tolist() if free else []
    chosen: dict[str, frozenset[int]] = {}
    used: set[int] = set()
    for kind, rate in (("missing", m.missing), ("thin", m.thin), ("late", m.late)):
        apart = [t for t in order if not used & {t - 1, t, t + 1}]
        picked: list[int] = []
        for t in apart:
            if len(picked) == occurrences(rate, count, len(apart)):
                break
            if not {t - 1, t, t + 1} & set(picked):
                picked.append(t)
        chosen[kind] = frozenset(picked)
        used |= set(picked)

    whole = np.zeros_like(market.trades)
    lost = chosen["missing"] | chosen["thin"]
    for t in range(1, count - LAGS):
        whole[t] = market.trades[t] & market.listed[min(t + LAGS, count - 1)] & (not lost & set(range(t, t + LAGS + 1)))
    cells = random.permutation(np.flatnonzero(whole))
    defects: list[Defect] = []
    for kind, rate in (
        ("restatement", m.restatements),
        ("duplicate", m.duplicates),
        ("conflict", m.conflicts),
        ("malformed", m.malformed),
    ):
        taken = occurrences(rate, float(market.trades.sum()), len(cells))
        defects += [_defect(kind, *divmod(int(c), whole.shape[1]), n, random) for n, c in enumerate(cells[:taken])]
        cells = cells[taken:]
    by_session: defaultdict[int, list[Defect]] = defaultdict(list)
    for defect in defects:
        by_session[defect.t].append(defect)
    return Deliveries(
        missing=chosen["missing"],
        thin=chosen["thin"],
        late=chosen["late"],
        defects=tuple(defects),
        by_session=dict(by_session),
    )


def _defect(kind: str, t: int, i: int, n: int, random: np.random.Generator) -> Defect:
    size, lag = float(random.uniform(0.002, 0.01)), int(random.integers(1, LAGS + 1))
    match kind:
        case "malformed":
            return Defect(kind, t, i, detail=MALFORMED[n % len(MALFORMED)])
        case "restatement":  # vendors revise volumes far more often than prices
            return Defect(kind, t, i, lag=lag, detail="close" if n % 5 == 0 else "volume", size=size)
        case _:
            return Defect(kind, t, i, size=size)


def price_file(m: Market, t: int) -> str:
    """The text of the price file labelled by session `t`: sessions t-1 and t, and rows corrected late."""
    market, plan = paths(m), deliveries(m)
    full = range(max(0, t - LAGS), t + 1)
    wrong = {
        (d.t, d.i): d for s in full for d in plan.by_session.get(s, []) if d.kind == "restatement" and t < d.t + d.lag
    }
    corrected = [
        (d.t, d.i)
        for s in full
        for d in plan.by_session.get(s, [])
        if d.kind == "restatement" and t == d.t + d.lag and d.lag > 1
    ]
    present = [(s, i) for s in (t - 1, t) if s >= 0 for i in _present(market, plan, s, t).tolist()]
    cells = np.array(corrected + present, dtype=np.int64).reshape(-1, 2)
    lines = _lines(market, cells, t, wrong)
    place = {(s, i): n for n, (s, i) in enumerate(cells.tolist())}
    for defect in plan.by_session.get(t, []):
        at = place[defect.t, defect.i]
        match defect.kind:
            case "duplicate":
                lines.append(lines[at])
            case "conflict":
                close = market.prices["close"][defect.t, defect.i] * (1 + defect.size) + 0.01
                lines.append(
                    _edited(
                        lines[at],
                        close=f"{close:.2f}",
                        high=f"{max(close, market.prices['high'][defect.t, defect.i]):.2f}",
                    )
                )
            case "malformed":
                lines[at] = _broken(lines[at], defect.detail)
            case _:
                pass
    return "\n".join([HEADER, *lines, ""])


def _present(market: Paths, plan: Deliveries, s: int, t: int) -> Ints:
    """Companies with a row for session `s` in the capture labelled `t`: those that the vendor lists at `t`."""
    companies = np.flatnonzero(market.trades[s] & market.listed[t])
    return companies[:: max(1, len(companies) // 3)] if s == t and t in plan.thin else companies


def _lines(market: Paths, cells: Ints, t: int, wrong: dict[tuple[int, int], Defect]) -> list[str]:
    s, i = cells[:, 0], cells[:, 1]
    values = {c: p[s, i] for c, p in market.prices.items()}
    volume = market.volume[s, i].copy()
    for n, cell in enumerate(zip(s.tolist(), i.tolist(), strict=True)):
        defect = wrong.get(cell)
        if defect and defect.detail == "volume":
            volume[n] = int(volume[n] * (1 - 50 * defect.size)) + 1
        elif defect:
            close = round(values["close"][n] * (1 + defect.size) + 0.01, 2)
            values["close"][n] = close
            values["high"][n] = max(values["high"][n], close)
    adjusted = (
        pl.Series([None] * len(s), dtype=pl.Float64)
        if market.config.declares_actions
        else pl.Series(np.maximum(np.round(values["close"] * _adjustment(market, s, i, t), 2), 0.01))
    )
    frame = pl.DataFrame({
        "symbol": [market.symbol(c, t) for c in i.tolist()], "session": [market.sessions[n] for n in s.tolist()],
        **{c: values[c] for c in ("open", "high", "low", "close")}, "volume": volume, "adj_close": adjusted,
    })  # fmt: skip
    return frame.select(pl.concat_str([pl.col(f).cast(pl.String).fill_null("") for f in FIELDS], separator=","))[
        "symbol"
    ].to_list()


def _adjustment(market: Paths, s: Ints, i: Ints, t: int) -> Floats:
    """The vendor's factor on each row: of the splits and dividends after its session, up to `t`."""
    factor = np.ones(len(s))
    for ex in range(max(1, t - LAGS), t + 1):
        step = market.denominator[ex] / market.numerator[ex] * (1 - market.cash[ex] / market.prices["close"][ex - 1])
        factor *= np.where(s < ex, step[i], 1.0)
    return factor


def _edited(line: str, **cells: str) -> str:
    return ",".join((dict(zip(FIELDS, line.split(","), strict=True)) | cells).values())


def _broken(line: str, how: str) -> str:
    cells = dict(zip(FIELDS, line.split(","), strict=True))
    match how:
        case "price is no number":
            return _edited(line, open="n/a")
        case "negative price":
            return _edited(line, close=f"-{cells['close']}")
        case "high below low":
            return _edited(line, high=cells["low"], low=str(round(float(cells["high"]) + 0.01, 2)))
        case _:
            return f"<html><h1>503 Service Unavailable</h1>{cells['symbol']}</html>"


Action = tuple[int, int, str, int | None, int | None, float | None, float | None]


def action_rows(market: Paths, t: int, ahead: int) -> list[Action]:
    """The actions in the delivery of `t`, as (ex position, company, kind, numerator, denominator, cash, value): those
    ahead by up to `ahead` sessions and those just passed.
    """
    names = market.names
    window = slice(max(0, t - 1), t + ahead + 1)
    out: list[Action] = []
    for s, i in np.argwhere((market.numerator[window] != market.denominator[window]) & market.listed[t]).tolist():
        ex = window.start + s
        out.append((ex, i, "split", int(market.numerator[ex, i]), int(market.denominator[ex, i]), None, None))
    for s, i in np.argwhere((market.cash[window] > 0) & market.listed[t]).tolist():
        out.append((window.start + s, i, "dividend", None, None, float(market.cash[window.start + s, i]), None))
    announced = names.end - np.where(names.merged, ahead, 0)  # a failure is known when it has happened
    ending = (names.end < len(market.sessions)) & (announced <= t) & (t <= names.end + 1) & (names.begin <= t)
    out += [
        (int(names.end[i]), i, "delisting", None, None, None, float(names.value[i]))
        for i in np.flatnonzero(ending).tolist()
    ]
    return sorted(out, key=lambda row: row[:3])
