"""What may explain a vendor's adjustment factor, and how sure prices alone are of it.

A factor is what a session's close was multiplied by because of what is ex the session after. Each explanation that fits
it within the rounding of the prices has a weight: how often such an action happens, times the chance that it would have
had just these terms. The confidence of one is its weight among all, so that an explanation is sure only where the
others are far behind (Bayes). The rates are a judgement on what American shares have done since 1990; only their ratios
matter, and only by orders of magnitude:

    payments      nearly all below 3% of the price, one in five thousand at any size; amounts that people write are
    round
    splits        two for each hundred payments, most of them 2:1, 3:2 or a reverse split to a round number
    both at once  one split in ten has a payment on its own ex-session
    spin-offs     three for each thousand payments, written as 1000/n to six decimals
    anything else errors, rights, exchanges: no terms of ours; likelier to hit a wide interval than a narrow one
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS_RATE, BOTH_RATE = 0.02, 0.1  # of payments; of splits
SPUN_RATE = 1.5e-5  # of payments, for n just above 1000 in 1000/n; with the cube of 1000/n less for larger ones
ELSE_RATE, LARGE_ELSE_RATE = 2e-4, 5e-4  # of payments, for a whole unit of factor
LARGE = 0.8  # factors from here to 1/0.8 move a price as markets do; beyond, the next open shows whether they are true
SMALL = 0.02  # nearer to one, no split comes with a payment
PAYMENT = 0.05  # of the price, at most, in a payment that comes with a split
UNSURE = 0.6  # of a payment beyond LARGE, whatever its amount: splits, errors and liquidations look like it
REMAINS = 0.25  # of the price, at least, after a spin-off that is not as unsure
SMALLEST_SPLIT = 1.1  # of fewer new shares one speaks as of a stock dividend
RELATIVE = 1e-5  # what is lost of a ratio in prices with six digits
DIGITS = 2e-6  # of a price with six decimals that went through a float of 32 bits

GRIDS = (
    (1.0, 0.15),
    (0.25, 0.15),
    (0.05, 0.2),
    (0.01, 0.3),
    (0.005, 0.06),
    (0.0025, 0.05),
    (0.001, 0.06),
    (0.0001, 0.03),
)
"""Multiples of which amounts are, and the share of payments that are one of them and of no coarser one, roughly."""
UNROUND = 0.1  # share of payments without a round amount: converted from another currency

_SHARES: Mapping[tuple[int, int], float] = {
    (2, 1): 0.25,
    (3, 2): 0.12,
    (3, 1): 0.04,
    (4, 1): 0.03,
    (5, 1): 0.015,
    (10, 1): 0.015,
    (20, 1): 0.005,
    (5, 4): 0.04,
    (4, 3): 0.01,
    (6, 5): 0.01,
    (1, 2): 0.02,
    (1, 3): 0.02,
    (1, 4): 0.03,
    (1, 5): 0.05,
    (1, 6): 0.02,
    (1, 7): 0.02,
    (1, 8): 0.02,
    (1, 10): 0.1,
    (1, 12): 0.01,
    (1, 15): 0.03,
    (1, 20): 0.04,
    (1, 25): 0.01,
    (1, 30): 0.01,
    (1, 40): 0.005,
    (1, 50): 0.01,
    (1, 100): 0.01,
    (21, 20): 0.05,
    (11, 10): 0.03,
    (51, 50): 0.0005,
    (103, 100): 0.0005,
    (26, 25): 0.0005,
    (53, 50): 0.004,
    (27, 25): 0.004,
    (23, 20): 0.005,
    (101, 100): 0.001,
    (107, 100): 0.001,
    (28, 25): 0.001,
}
"""Share of splits and stock dividends by new shares and old ones; others get less, see `_shares`."""


@dataclass(frozen=True)
class Explanation:
    """One way to explain a factor: `shares` (new, old) or None, and what is paid per old share in `kind` (dividend or
    spin_off; empty: nothing).
    """

    shares: tuple[int, int] | None
    kind: str
    paid: float
    confidence: float = 0.0

    def __str__(self) -> str:
        """As a person reads and writes it: split 2:1 + dividend 1."""
        ratio = f"{self.ratio_kind} {self.shares[0]}:{self.shares[1]}" if self.shares else ""
        return " + ".join(p for p in (ratio, f"{self.kind} {self.paid:.6g}" if self.kind else "") if p)

    @property
    def ratio_kind(self) -> str:
        """Whether one speaks of a split or of a stock dividend."""
        return "stock_dividend" if self.shares and 1 < self.shares[0] / self.shares[1] < SMALLEST_SPLIT else "split"


@dataclass(frozen=True)
class Pair:
    """The closes of two consecutive sessions as one delivery has them, raw and adjusted; `after` and `adjusted_after`
    are None for an action that is announced.
    """

    before: float
    adjusted: float
    after: float | None = None
    adjusted_after: float | None = None

    @property
    def factor(self) -> float:
        """What the vendor applied between them."""
        later = 1.0 if self.after is None or self.adjusted_after is None else self.adjusted_after / self.after
        return self.adjusted / self.before / later

    @property
    def rounding(self) -> float:
        """The most by which rounding changed the factor, relatively: half of the last decimal of each adjusted close,
        where it was computed.
        """
        lost = _half(self.adjusted) / self.adjusted if self.adjusted != self.before else 0.0
        return lost + self._rounded_after

    @property
    def noise(self) -> float:
        """The most by which the factor differs from one where nothing happened: adjusted closes with fewer decimals
        than raw ones are not equal to them.
        """
        finer = _half(self.before) < _half(self.adjusted) or self._rounded_after > 0
        return (_half(self.adjusted) / self.adjusted if finer else 0.0) + self._rounded_after

    @property
    def _rounded_after(self) -> float:
        if self.adjusted_after is None or self.adjusted_after == self.after:
            return 0.0
        return _half(self.adjusted_after) / self.adjusted_after


def explain(pair: Pair) -> Sequence[Explanation]:
    """The explanations that fit, by descending confidence; none if nothing fits.

    `confidence`s sum to less than one: the rest is the chance that none of them is true.

    The confidence of a payment beyond a fifth of the price, and of a spin-off that leaves less than a quarter of it, is
    at most `UNSURE`.
    """
    factor, off = pair.factor, pair.rounding + RELATIVE
    weighed = [*_splits(factor, off), *_payments(pair, factor), *_both(pair, factor, off)]
    rate = ELSE_RATE if LARGE < factor < 1 else LARGE_ELSE_RATE
    total = sum(w for w, _ in weighed) + rate * 2 * off
    beyond_noise = max(0.0, 1 - pair.noise / abs(1 - factor)) if factor != 1 else 0.0
    sure = [(min(w / total * beyond_noise, _limit(e, factor)), e) for w, e in weighed]
    ordered = sorted(sure, key=lambda s: (-s[0], str(s[1])))
    return [Explanation(e.shares, e.kind, e.paid, round(c, 3)) for c, e in ordered]


def _limit(explanation: Explanation, factor: float) -> float:
    if explanation.shares is not None:
        return 1.0
    least = LARGE if explanation.kind == "dividend" else REMAINS
    return 1.0 if factor > least else UNSURE


def _splits(factor: float, off: float) -> list[tuple[float, Explanation]]:
    """The ratios within the interval, and 1:n for any n."""
    first = bisect_left(_FACTORS, factor * (1 - off))
    found: list[tuple[float, Explanation]] = []
    for price, share, ratio in _RATIOS[first:]:
        if price > factor * (1 + off):
            break
        found.append((SPLITS_RATE * share, Explanation(ratio, "", 0.0)))
    n = round(factor)
    if n > FEW and abs(n / factor - 1) <= off:
        found.append((SPLITS_RATE * _share_of_one(n), Explanation((1, n), "", 0.0)))
    return found


def _payments(pair: Pair, factor: float) -> list[tuple[float, Explanation]]:
    """A dividend, or the spin-off that six decimals of 1000/n speak of: what a share of the new company trades at has
    more digits than what people pay.
    """
    if factor >= 1:
        return []
    amount = pair.before * (1 - factor)
    off = pair.before * factor * pair.rounding + DIGITS + 2e-7 * pair.before
    density = _often(1 - factor) / pair.before
    n = 1000 / factor
    exact = abs(n - round(n)) <= 3e-6 * n / pair.adjusted
    mills = 1000 * amount
    if exact and _half(pair.adjusted) <= 0.0005 and abs(mills - round(mills)) > 0.01:
        weight = SPUN_RATE * factor * factor * factor + density * _chance(amount, off)
        return [(weight, Explanation(None, "spin_off", round(amount, 4)))]
    paid = round(_roundest(amount, off), 4)
    return [(density * _chance(amount, off), Explanation(None, "dividend", paid))] if paid > 0 else []


def _both(pair: Pair, factor: float, off: float) -> list[tuple[float, Explanation]]:
    """A split that people make, and an ordinary payment on the same ex-session: per old share, or as it is declared,
    per new one.
    """
    found: list[tuple[float, Explanation]] = []
    if abs(1 - factor) < SMALL:
        return found
    for (new, old), share in _SHARES.items():
        left = factor * new / old
        paid, unsure = pair.before * (1 - left), pair.before * left * off
        if not 2 * unsure < paid <= PAYMENT * pair.before or 1 < new / old < SMALLEST_SPLIT:
            continue
        of_old, of_new = _round_chance(paid, unsure), _round_chance(paid * old / new, unsure * old / new) * old / new
        amount = (
            _roundest(paid, unsure) if of_old >= of_new else _roundest(paid * old / new, unsure * old / new) * new / old
        )
        weight = SPLITS_RATE * share * BOTH_RATE * _often(1 - left) / pair.before * max(of_old, of_new)
        if weight > 0:
            found.append((weight, Explanation((new, old), "dividend", round(amount, 4))))
    return found


def _often(part: float) -> float:
    """How often a payment is this part of the price, as a density."""
    hundredths = part / 0.01
    return 82.7 / (1 + hundredths * hundredths * hundredths) + 0.0002


def _chance(amount: float, off: float) -> float:
    """The chance of an amount in [amount - off, amount + off], of what is as likely anywhere: round ones weigh more
    than their length.
    """
    return _round_chance(amount, off) + UNROUND * 2 * off


def _round_chance(amount: float, off: float) -> float:
    low, high = max(amount - off, 0.0), amount + off
    multiples = ((step, share, math.floor(high / step) - math.ceil(low / step) + 1) for step, share in GRIDS)
    return sum(share * step * n for step, share, n in multiples if n > 0 and high >= step)


def _roundest(amount: float, off: float) -> float:
    """The multiple of the coarsest of `GRIDS` within the interval that is nearest; the amount itself where there is
    none.
    """
    for step, _ in GRIDS:
        nearest = round(amount / step) * step
        if nearest > 0 and abs(nearest - amount) <= off:
            return nearest
    return amount


def _half(price: float) -> float:
    """Half of the last decimal that a price was printed with; two decimals at least, because the zeros of a round price
    are not printed.
    """
    single = 6e-8 * price + 6e-7  # 16.97 comes as 16.969999 where it was a float of 32 bits on its way
    decimals = next((d for d in range(2, 6) if abs(price - round(price, d)) <= single), 6)
    return 0.5 / _TENS[decimals]


def _share_of_one(n: int) -> float:
    return (0.1 if n % 5 else 0.3) / (n * n)


def _shares() -> list[tuple[float, float, tuple[int, int]]]:
    """Factor (price after / before), share, ratio, ascending: `_SHARES`, and others by how simple they are: n:1 and 1:n
    to 200, the rest to 25.
    """
    others = {
        **{(n, 1): 0.01 / (n * n) for n in range(2, FEW + 1)},
        **{(1, n): _share_of_one(n) for n in range(2, FEW + 1)},
        **{(a, b): 0.01 / (a * b * a * b) for a in range(2, 26) for b in range(2, 26) if math.gcd(a, b) == 1},
    }
    plain = {r: s for r, s in others.items() if max(r[0] / r[1], r[1] / r[0]) >= SMALLEST_SPLIT}
    return sorted((b / a, s, (a, b)) for (a, b), s in {**plain, **_SHARES}.items())


FEW = 200
_TENS = [float(10**k) for k in range(7)]
_RATIOS = _shares()
_FACTORS = [price for price, _, _ in _RATIOS]
