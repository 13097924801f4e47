"""What one unit of a currency was worth in another, as known at a cut: exact, or refused with the reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from quant_assets.contract import in_force, known_by
from quant_assets.errors import RateUnknown
from quant_assets.ports import Store
from quant_assets.vendor_tables import FX_RATES

STALE_AFTER = timedelta(days=7)  # over the longest holidays a market of currencies has a fix within a week
RATE = Decimal("0.000000000001")  # the scale of rates: what is in memory is what is stored
PIVOTS = ("USD", "EUR")  # of several ways through a third currency that are equally new, these come first
_Pair = tuple[str, str]


def fx_rates(
    store: Store, currencies: Iterable[str], base: str, cut: datetime, stale_after: timedelta = STALE_AFTER
) -> Mapping[str, Decimal]:
    """By currency what one unit of it costs in `base`, as known at `cut`; of the base itself 1.

    Raises RateUnknown where a rate is missing or older than `stale_after`. Nothing is read where no other currency is
    asked for.
    """
    asked = sorted({*currencies} - {base})
    rows = quotes(store, cut, cut, stale_after) if asked else FX_RATES.empty()
    return rates_at(rows, asked, base, cut, stale_after)


def quotes(store: Store, first: datetime, last: datetime, stale_after: timedelta = STALE_AFTER) -> pl.DataFrame:
    """The versions of FX_RATES that a cut from `first` to `last` may use."""
    return store.read(FX_RATES, as_of=last, first=(first - stale_after).date(), last=last.date())


def rates_at(
    rows: pl.DataFrame, currencies: Sequence[str], base: str, cut: datetime, stale_after: timedelta = STALE_AFTER
) -> Mapping[str, Decimal]:
    """The same from FX_RATES versions. A quotation is used as it is, else turned round, else through a third currency:
    the newest of its older halves, then by name. Raises RateUnknown.
    """
    if not [c for c in currencies if c != base]:
        return {base: Decimal(1)}
    newest = _newest(in_force(known_by(rows, cut), FX_RATES).filter(pl.col("session") <= cut.date()))
    found = {base: Decimal(1)}
    for currency in currencies:
        if currency != base:
            found[currency] = _rate(newest, currency, base, cut, stale_after)
    return found


def _newest(rows: pl.DataFrame) -> dict[_Pair, tuple[date, Decimal]]:
    """The last quotation of each pair, both ways round; a pair that is quoted both ways keeps each as it is."""
    usable = rows.filter(pl.col("rate").is_finite() & (pl.col("rate") > 0)).sort("session", "base", "quote")
    quoted = {
        (base, quote): (session, Decimal(str(rate)).quantize(RATE))
        for base, quote, session, rate in usable.select("base", "quote", "session", "rate").iter_rows()
    }
    turned = {(quote, base): (at, (1 / rate).quantize(RATE)) for (base, quote), (at, rate) in quoted.items() if rate}
    newer = {pair: found for pair, found in turned.items() if pair not in quoted or found[0] > quoted[pair][0]}
    return quoted | newer


def _rate(
    newest: Mapping[_Pair, tuple[date, Decimal]], currency: str, base: str, cut: datetime, stale_after: timedelta
) -> Decimal:
    oldest = (cut - stale_after).date()
    at, rate = newest.get((currency, base), (date.min, Decimal(0)))
    if at >= oldest and rate:
        return rate
    ways = sorted(_through(newest, currency, base), key=lambda w: (-w[0].toordinal(), w[1] not in PIVOTS, w[1]))
    if ways and ways[0][0] >= oldest and ways[0][2]:
        return ways[0][2]
    last = max([at, *(w[0] for w in ways)])
    since = f"the last is of {last}" if last > date.min else "no feed brought one"
    raise RateUnknown(
        f"no rate of {currency} in {base} is known at {cut:%Y-%m-%d %H:%M} UTC from the last {stale_after.days} days "
        f"({since}), neither between the two nor through a third currency; feed the dataset fx_rates with "
        f"{currency}/{base}"
    )


def _through(
    newest: Mapping[_Pair, tuple[date, Decimal]], currency: str, base: str
) -> Iterator[tuple[date, str, Decimal]]:
    """Each third currency that has a rate to both: the day of the older one, its name, and the rate."""
    for (first, third), (at, rate) in newest.items():
        if first == currency and (third, base) in newest:
            then, onward = newest[third, base]
            yield min(at, then), third, (rate * onward).quantize(RATE)
