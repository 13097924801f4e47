"""Triple-barrier labels: hand-computed cases, the plain definition as an oracle, and what they become without
barriers.
"""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from quant_assets.features.labels import compute_labels
from quant_assets.strategy import LabelRule, NetOf
from quant_assets.tables import ACTIONS, BARS
from tests.features.labels_market import CUTS, DAYS, Memory, gross, known, labels, market, rows

RULE = LabelRule(kind="triple_barrier", horizon=3, upper=2.0, lower=2.0, volatility=2)
S = 0.02 / 2**0.5  # the standard deviation of the two returns before the label's session, 2% and 0
FLAT = (100.0, 100.0, 100.0, 100.0)
PAST = [FLAT, (102.0,) * 4, (102.0,) * 4]
BARRIER = 2 * S  # 2.8284%


def bar(n: int, prices: tuple[float, ...], *, late: int = 0, withdrawn: bool = False) -> dict[str, object]:
    """A bar (open, high, low, close) of session n, known `late` sessions after its own cut."""
    return {
        "session": DAYS[n],
        "sid": 1,
        **dict(zip(("open", "high", "low", "close"), prices, strict=True)),
        "withdrawn": withdrawn,
        "known_at": CUTS.of(DAYS[n + late]),
    }


def action(n: int, kind: str, **terms: object) -> dict[str, object]:
    """An action with ex-session n, known the day before."""
    return {"session": DAYS[n], "sid": 1, "kind": kind, "withdrawn": False, "known_at": CUTS.of(DAYS[n - 1]), **terms}


def label_of(
    bars: list[dict[str, object]], actions: list[dict[str, object]], rule: LabelRule = RULE
) -> list[tuple[object, ...]]:
    """Every label of session 2 that is filed in the sessions after it: where, value, touched, died, known at."""
    store = Memory({"bars": rows(BARS, bars), "actions": rows(ACTIONS, actions or ACTIONS.empty())})
    found = compute_labels(store, CUTS, rule, DAYS[3:12]).filter(session=DAYS[2])
    assert found["known_at"].to_list() == [CUTS.of(s) for s in found["label_end"]]
    return [
        (DAYS.index(end), value, touched, died)
        for end, value, touched, died in found.select("label_end", "value", "touched", "died").iter_rows()
    ]


QUIET = (100.0, 101.0, 99.0, 100.0)
OUT = (101.0, 120.0, 80.0, 100.0)  # the last session: it is left at its open
CASES = {
    "nothing is touched: the open after the horizon": ([QUIET, QUIET, QUIET, OUT], [], (6, 0.01, "time", False)),
    "the high of the entry's own session": (
        [(100.0, 103.0, 99.5, 101.0), QUIET, QUIET, OUT],
        [],
        (3, BARRIER, "upper", False),
    ),
    "the low of the second": ([QUIET, (99.0, 99.5, 97.0, 99.0), QUIET, OUT], [], (4, -BARRIER, "lower", False)),
    "the close came back: a stop had sold": (
        [QUIET, (100.0, 101.0, 96.0, 101.0), (104.0,) * 4, OUT],
        [],
        (4, -BARRIER, "lower", False),
    ),
    "both in one session: the loss": (
        [QUIET, (100.0, 104.0, 96.0, 100.0), QUIET, OUT],
        [],
        (4, -BARRIER, "lower", False),
    ),
    "an open above the barrier": ([QUIET, QUIET, (105.0, 106.0, 104.0, 105.0), OUT], [], (5, 0.05, "upper", False)),
    "an open below the barrier": ([QUIET, QUIET, (90.0, 91.0, 89.0, 90.0), OUT], [], (5, -0.1, "lower", False)),
    "an open above, then a fall: out at the open": (
        [QUIET, (105.0, 106.0, 80.0, 80.0), QUIET, OUT],
        [],
        (4, 0.05, "upper", False),
    ),
    "exactly at the open of the last session: time is over": (
        [QUIET, QUIET, QUIET, (110.0, 120.0, 80.0, 100.0)],
        [],
        (6, 0.1, "time", False),
    ),
    "a halt touches nothing": ([QUIET, None, (100.0, 103.0, 99.0, 100.0), OUT], [], (5, BARRIER, "upper", False)),
    "a halt at the exit: the last price": (
        [QUIET, QUIET, (100.0, 101.0, 99.0, 100.5), None, QUIET],
        [],
        (6, 0.005, "time", True),
    ),
    "a halt at the entry: no order could fill": ([None, QUIET, QUIET, OUT], [], None),
    "a split is no fall": (
        [QUIET, (50.0, 50.5, 49.5, 50.0), (50.0, 50.5, 49.5, 50.0), (50.5,) * 4],
        [action(4, "split", numerator=2, denominator=1)],
        (6, 0.01, "time", False),
    ),
    "a touch after a split": (
        [QUIET, (50.0, 51.5, 49.5, 50.0), QUIET, OUT],
        [action(4, "split", numerator=2, denominator=1)],
        (4, BARRIER, "upper", False),
    ),
    "a dividend is no fall": (
        [QUIET, (95.0, 96.0, 94.0, 95.0), (95.0, 96.0, 94.0, 95.0), (95.0,) * 4],
        [action(4, "dividend", cash=Decimal(5))],
        (6, 0.0, "time", False),
    ),
    "a dividend on top of the price": (
        [QUIET, QUIET, QUIET, OUT],
        [action(4, "dividend", cash=Decimal(4))],
        (4, 0.04, "upper", False),
    ),
    "a dividend before a split is paid on the old shares": (
        [QUIET, (48.0,) * 4, QUIET, OUT],
        [action(4, "dividend", cash=Decimal(10)), action(4, "split", numerator=2, denominator=1)],
        (4, 0.06, "upper", False),
    ),
    "a dividend on the entry's session is not ours": (
        [QUIET, QUIET, QUIET, OUT],
        [action(3, "dividend", cash=Decimal(4))],
        (6, 0.01, "time", False),
    ),
    "delisted at half its last price": ([QUIET, QUIET], [action(5, "delisting", value=-0.5)], (5, -0.5, "lower", True)),
    "taken out for cash": ([QUIET, QUIET], [action(5, "merger", cash=Decimal(130))], (5, 0.3, "upper", True)),
    "merged at a return, then delisted": (
        [QUIET, QUIET],
        [action(5, "merger", value=0.2), action(5, "delisting", value=0.0)],
        (5, 0.2, "upper", True),
    ),
    "merged for shares: its last price": (
        [QUIET, QUIET],
        [action(5, "merger", numerator=1, denominator=2, counterpart="BB")],
        (6, 0.0, "time", True),
    ),
    "ended between the barriers: held to the end": (
        [QUIET, QUIET],
        [action(5, "delisting", value=-0.01)],
        (6, -0.01, "time", True),
    ),
    "vanished: its last price": ([QUIET, (100.0, 101.0, 99.0, 99.5)], [], (6, -0.005, "time", True)),
    "touched before it ended": (
        [QUIET, (100.0, 103.0, 99.5, 101.0)],
        [action(5, "delisting", value=-1.0)],
        (4, BARRIER, "upper", False),
    ),
    "declared dead after a halt, told when it trades again: the price counts": (
        [QUIET, None, QUIET, OUT],
        [action(4, "delisting", value=-0.5, known_at=CUTS.of(DAYS[5]))],
        (6, 0.01, "time", True),
    ),
    "declared dead, and it trades: the price counts": (
        [QUIET, QUIET, QUIET, OUT],
        [action(4, "delisting", value=-0.5)],
        (6, 0.01, "time", True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_which_barrier_and_at_what_return(case: str) -> None:
    """The label of session 2, entered at open(3), is filed once, in the session of its touch or at open(6), with the
    return there.
    """
    prices, actions, expected = CASES[case]
    found = label_of([bar(n, p) for n, p in enumerate([*PAST, *prices]) if p], actions)
    assert len(found) == (expected is not None)
    if expected is not None:
        assert found[0] == (expected[0], pytest.approx(expected[1], abs=1e-12), *expected[2:])


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (0.0, 2.0, (5, -BARRIER, "lower", False)),
        (2.0, 0.0, (4, BARRIER, "upper", False)),
        (0.0, 0.0, (6, 0.01, "time", False)),
    ],
)
def test_a_barrier_of_zero_is_none(upper: float, lower: float, expected: tuple[object, ...]) -> None:
    """Without the upper barrier the same path runs into the lower one, without any to the end."""
    prices = [*PAST, QUIET, (100.0, 104.0, 99.0, 100.0), (100.0, 101.0, 96.0, 99.0), OUT]
    rule = LabelRule(kind="triple_barrier", horizon=3, upper=upper, lower=lower, volatility=2)
    ((end, value, *rest),) = label_of([bar(n, p) for n, p in enumerate(prices)], [], rule)
    assert (end, pytest.approx(value, abs=1e-12), *rest) == expected


def test_a_touch_found_late_is_filed_when_it_was_found() -> None:
    """The bar of session 4, known at the cut of 5, files its touch under 5; a touch once filed is not filed again when
    its bar is withdrawn.
    """
    bars = [bar(n, p) for n, p in enumerate([*PAST, QUIET, QUIET, QUIET, OUT])]
    touching = (100.0, 103.0, 99.5, 101.0)
    ((end, value, touched, _),) = label_of([*bars[:4], bar(4, touching, late=1), *bars[5:]], [])
    assert (end, touched, value) == (5, "upper", pytest.approx(BARRIER))
    ((end, value, touched, _),) = label_of([*bars[:4], bar(4, touching), *bars[5:], bar(4, QUIET, late=1)], [])
    assert (end, touched, value) == (4, "upper", pytest.approx(BARRIER))
    ((end, value, touched, _),) = label_of([*bars[:5], *bars[6:], bar(5, touching, late=1)], [])
    assert (end, touched, value) == (6, "upper", pytest.approx(BARRIER)), (
        "found at the last cut, before the time counts"
    )


def test_without_a_volatility_there_is_no_label() -> None:
    """Barriers need a past that moves, which is known before the outcome is: too few bars, or flat ones, give none."""
    future = [bar(n, QUIET) for n in range(3, 7)]
    assert label_of([bar(2, FLAT), *future], []) == []
    assert label_of([*(bar(n, FLAT) for n in range(3)), *future], []) == []
    assert label_of([bar(0, FLAT), bar(1, (102.0,) * 4), bar(2, (102.0,) * 4, late=1), *future], []) == [], (
        "what the cut of session 2 did not know"
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_the_definition_says(seed: int) -> None:
    """On a market with late, restated and withdrawn rows, splits, payments and endings, each label is the plain walk
    from cut to cut.
    """
    rule = LabelRule(kind="triple_barrier", horizon=5, upper=1.5, lower=1.0, volatility=10)
    made = {
        (r["session"], r["sid"]): (r["label_end"], r["touched"], r["died"], r["value"])
        for r in labels(seed, rule, DAYS[30:135]).iter_rows(named=True)
    }
    told = by_definition(market(seed), rule, range(40, 120))
    within = {k: v for k, v in made.items() if DAYS[40] <= k[0] < DAYS[120]}
    assert len(within) > 500
    assert {v[1] for v in within.values()} == {"upper", "lower", "time"}
    assert {k: v[:3] for k, v in within.items()} == {k: v[:3] for k, v in told.items()}
    assert max(abs(v[3] - told[k][3]) for k, v in within.items()) < 1e-12


def by_definition(
    store: Memory, rule: LabelRule, starts: range
) -> dict[tuple[object, int], tuple[object, str, bool, float]]:
    """(session, sid) to label_end, touched, died, value: for each cut after the entry, walk what it knows of the path;
    the first cut that sees a touch, or that of open(t+1+h), files it.
    """
    place = {d: n for n, d in enumerate(DAYS)}
    bars, actions = store.frames["bars"], store.frames["actions"]
    state = {}
    for n in range(starts[0], starts[-1] + rule.horizon + 2):
        at = CUTS.of(DAYS[n])
        acted: dict[tuple[int, int], list[dict]] = {}
        for a in sorted(
            known(actions.filter(pl.col("session") <= DAYS[n]), ("sid", "session", "kind"), at), key=lambda a: a["kind"]
        ):
            acted.setdefault((a["sid"], place[a["session"]]), []).append(a)
        state[n] = (
            {
                (b["sid"], place[b["session"]]): b
                for b in known(bars.filter(pl.col("session") <= DAYS[n]), ("sid", "session"), at)
            },
            acted,
        )
    return {
        (DAYS[t], sid): label
        for t in starts
        for sid in bars["sid"].unique()
        if (sigma := daily(state[t], sid, t, rule.volatility))
        and (label := walk(state, rule, sid, t, sigma)) is not None
    }


def terms(acted: list[dict]) -> tuple[float, float]:
    """Shares and cash that one share becomes."""
    ratio = paid = 0.0
    ratio = 1.0
    for a in acted:
        ratio *= a["numerator"] / a["denominator"] if a["kind"] in {"split", "stock_dividend"} else 1.0
        paid += (
            float(a["cash"]) if a["kind"] in {"dividend", "roll"} else a["value"] if a["kind"] == "spin_off" else 0.0
        )
    return ratio, paid


def daily(state: tuple, sid: int, t: int, sessions: int) -> float | None:
    """The standard deviation of daily returns."""
    bars, acted = state
    returns = []
    for n in range(t - sessions + 1, t + 1):
        if (sid, n) in bars and (sid, n - 1) in bars:
            ratio, paid = terms(acted.get((sid, n), []))
            returns.append((bars[sid, n]["close"] * ratio + paid) / bars[sid, n - 1]["close"] - 1)
    if len(returns) < max(2, sessions / 2):
        return None
    mean = sum(returns) / len(returns)
    return (sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)) ** 0.5


def walk(state: dict, rule: LabelRule, sid: int, t: int, sigma: float) -> tuple[object, str, bool, float] | None:
    """The label of one name and session."""
    entry = t + 1
    for u in range(entry, entry + rule.horizon + 1):
        if (sid, entry) not in state[u][0]:
            continue
        *prices, over = events(*state[u], sid, entry, u)
        prices = [p for p in prices if p[3] < entry + rule.horizon]  # the last session is left at its open
        for returned, what, dead, _ in prices:
            if returned >= rule.upper * sigma and what != "low":
                return DAYS[u], "upper", dead, returned if what == "open" else rule.upper * sigma
            if returned <= -rule.lower * sigma and what != "high":
                return DAYS[u], "lower", dead, returned if what == "open" else -rule.lower * sigma
        if u == entry + rule.horizon:
            return DAYS[u], "time", over[2], over[0]
    return None


def events(bars: dict, acted: dict, sid: int, entry: int, u: int) -> list[tuple[float, str, bool, int]]:
    """What a share has returned at every price from its purchase on, in the order in which they count: return, which
    price, whether it is an ending's, when. The last is what it would bring at u's open.
    """
    out, shares, income, last, ended, declared = [], 1.0, 0.0, None, None, False
    for n in range(entry, u + 1):
        today, b = acted.get((sid, n), []) if n > entry else [], bars.get((sid, n))
        ratio, paid = terms(today)
        income, shares = income + paid * shares, shares * ratio
        declared |= any(a["kind"] == "delisting" or (a["kind"] == "merger" and a["cash"] is not None) for a in today)
        ended = proceeds(today, last, ended)
        gone = ended is not None and not any((sid, m) in bars for m in range(n, u + 1))
        steps = (
            [(b["open"], "open"), (b["low"], "low"), (b["high"], "high")][n == entry :]
            if b
            else [(ended, "open")]
            if gone
            else []
        )
        steps = steps if n < u else [*steps, (b["open"] if b else last if ended is None else ended, "over")]
        out += [
            ((p * shares + income) / bars[sid, entry]["open"] - 1, what, b is None or (what == "over" and declared), n)
            for p, what in steps
        ]
        last = b["close"] if b else last
    return out


def proceeds(today: list[dict], last: float | None, before: float | None) -> float | None:
    """What a share brings when it ends: a merger's terms before a delisting's."""
    for a in sorted(today, key=lambda a: a["kind"], reverse=True):
        if a["kind"] == "merger" and a["cash"] is not None:
            return float(a["cash"])
        if a["kind"] == "delisting" and last is not None:
            return last * (1 + (a["value"] or 0.0))
    return before


@pytest.mark.parametrize("seed", [2, 3])
def test_without_barriers_it_is_the_return_from_open_to_open(seed: int) -> None:
    """Two barriers of zero leave the time's: to the bit the other rule's labels, of the names that have a
    volatility.
    """
    plain = gross(seed, LabelRule(horizon=4, net_of=NetOf(universe="few")), DAYS[40:110])
    free = labels(seed, LabelRule(kind="triple_barrier", horizon=4, upper=0, lower=0), DAYS[40:110])
    both = free.join(plain, on=["session", "sid"], suffix="_plain")
    assert both.height == free.height > 0.9 * plain.height
    assert both.select("value", "died", "label_end").equals(
        both.select(value="value_plain", died="died_plain", label_end="label_end_plain")
    )


def test_a_row_is_known_at_the_cut_of_its_own_end() -> None:
    """Every session has labels that end at different times, and none is known before its end's cut or more than the
    horizon later.
    """
    rule = LabelRule(kind="triple_barrier", horizon=5, volatility=10)
    found = labels(1, rule, DAYS[30:120])
    assert found.group_by("session").agg(pl.col("known_at").n_unique())["known_at"].max() > 2
    waited = [DAYS.index(b) - DAYS.index(a) for a, b in found.select("session", "label_end").iter_rows()]
    assert (min(waited), max(waited)) == (1, 6)
    assert not found.select("session", "sid").is_duplicated().any()
    assert found.filter(pl.col("known_at") < pl.Series([CUTS.of(e) for e in found["label_end"]])).is_empty()
    assert found["known_at"].max() < CUTS.of(DAYS[120]) + timedelta(seconds=1)
