"""What the evidence must overcome: the odds, in logs, against each kind of error before anything is known of it, and
the margins for telling and for mending.

`python -m bench.vendor_errors --held-out` weighs other values by cross-validation over names, and prints what the
choice does on names that were left out of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Odds against are natural logs; the evidence is a log likelihood ratio under Student's t with three degrees of
    freedom.
    """

    unit: float = 9.0  # against a change of unit between two prices
    split: float = 3.0  # against a declared split that is not in the prices, or twice, at its own session
    split_off: float = 0.25  # and more by this for each day between the break and the declaration
    glitch: float = 9.0  # against a slipped decimal point
    cell: float = 4.0  # against a high or low in another unit than its row
    payment: float = 5.5  # against an amount that contradicts amount and step at once
    phantom: float = 6.9  # against a payment that was not made
    rarer: float = 2.3  # and than a payment in another unit
    repeat: float = (
        5.0  # for one payment being declared twice, where two are alike within days and others are months apart
    )
    odd: float = 2.0  # for that one being too many whose amount is wrong besides
    gains: float = 1.0  # for gains being in the dividend, as they are meant to be
    stale: float = 9.0  # against a stopped feed of a name that trades
    told: float = 0.0  # the lead that the best explanation needs to be reported
    mended: float = 1.0  # and to be mended
    either: float = (
        0.5  # and for one of two payments to be taken away: whichever it is, the history before both is right again
    )


CHOSEN = Thresholds()
