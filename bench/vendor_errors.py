"""Vendors' price errors with their answers: how many are found, how many repairs equal the answer, how many alarms on
repaired files; and errors put into other real prices.

    python -m bench.vendor_errors
    python -m bench.vendor_errors --held-out    # by kind, on names left out when the thresholds were chosen

It needs the real market data (QUANT_SHARED_DATA, or ../shared/data).
"""

import os
import sys
import time
from pathlib import Path

import polars as pl

from bench import held_out
from bench.held_out import differ, mended, on_prices
from quant_assets.market_data.vendor_errors import diagnose

NAMES = {
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "adj_close": "Adj Close",
    "volume": "Volume",
    "dividend": "Dividends",
    "split": "Stock Splits",
    "capital_gains": "Capital Gains",
}
PRICES = ("open", "high", "low", "close")
EQUAL = 1e-5  # relative: answers are printed with six or seven digits
FIXED = "-fixed"
SMALLEST_PAYMENT = 3e-4  # of the price: below this the steps of a printed adjusted close are rounding

_BEFORE = pl.col("close").forward_fill().shift().over("symbol")
_STEP = (
    1 - (pl.col("adj_close") / pl.col("close")).forward_fill().shift() / (pl.col("adj_close") / pl.col("close"))
).over("symbol")


def read(path: Path) -> pl.DataFrame:
    """One file as bars to diagnose; the file's name is the symbol, the venue's local date (or time, within the day) the
    session.
    """
    given = pl.read_csv(path, infer_schema=False)
    stamp, symbol = pl.col(given.columns[0]), path.name.removesuffix(".csv.gz")
    days = given.select(stamp.str.slice(0, 10)).to_series()
    within = days.n_unique() < days.len()  # more rows than one a day
    session = stamp.str.slice(0, 19).str.to_datetime() if within else stamp.str.slice(0, 10).str.to_date()
    return given.select(
        symbol=pl.lit(symbol),
        session=session,
        **{
            ours: pl.col(theirs).cast(pl.Float64) if theirs in given.columns else pl.lit(0.0)
            for ours, theirs in NAMES.items()
        },
    ).sort("session")


def files(folder: Path) -> dict[str, pl.DataFrame]:
    """Every file by its symbol."""
    return {path.name.removesuffix(".csv.gz"): read(path) for path in sorted(folder.glob("*.csv.gz"))}


def offending(bars: pl.DataFrame, answer: pl.DataFrame) -> pl.DataFrame:
    """session, about (prices | payment): what the answer changed. A payment counts where its amount or its step in the
    adjusted close changed; rows whose adjusted close merely follows do not.
    """

    def with_step(frame: pl.DataFrame) -> pl.DataFrame:
        held = pl.col("adj_close") / pl.col("close")
        return frame.with_columns(step=1 - held.forward_fill().shift() / held)

    both = with_step(bars).join(with_step(answer), on="session", suffix="_answer", maintain_order="left")
    prices = pl.any_horizontal(differ(c, 1e-4) for c in PRICES)
    payment = (pl.col("dividend") > 0) & (
        differ("dividend", 1e-4) | ((pl.col("step") - pl.col("step_answer")).abs() > 1e-5).fill_null(value=False)
    )
    rows = [
        both.filter(what).select("session", about=pl.lit(name))
        for name, what in (("prices", prices), ("payment", payment))
    ]
    return pl.concat(rows)


def found(findings: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """The offending rows that a finding is about."""
    told = findings.select(
        "session", about=pl.when(on_prices()).then(pl.lit("prices")).otherwise(pl.lit("payment"))
    ).unique()
    return errors.join(told, on=["session", "about"], how="semi")


def differing(repaired: pl.DataFrame, answer: pl.DataFrame, *, but_for_units: bool = False) -> int:
    """Rows of the repaired file that differ from the answer: prices, adjusted close and dividend by more than `EQUAL`,
    volume by more than a share. `but_for_units`: where a whole row is a power of a hundred of the answer's, it is the
    same row.
    """
    both = repaired.join(answer, on="session", suffix="_answer", maintain_order="left")
    if but_for_units:
        unit = pl.lit(100.0).pow(((pl.col("close") / pl.col("close_answer")).log(100)).round()).fill_null(1.0)
        both = both.with_columns(unit=unit).with_columns(
            pl.col(c) / pl.col("unit") for c in (*PRICES, "adj_close", "dividend")
        )
    volume = ((pl.col("volume") - pl.col("volume_answer")).abs() > 1).fill_null(value=False)
    return both.filter(
        pl.any_horizontal(*(differ(c, EQUAL) for c in (*PRICES, "adj_close", "dividend")), volume)
    ).height


def main() -> None:
    """Print the table, and the speed over many names against one name at a time."""
    shared = Path(os.environ.get("QUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if "--held-out" in sys.argv[1:]:
        held_out.main(shared)
        return
    given = files(shared / "yfinance_errors")
    print(f"{'file':<30} {'errors':>7} {'found':>6} {'differ':>7} {'but units':>9} {'left':>5}  rules")
    totals = [0, 0, 0, 0]
    for name, bars in given.items():
        if f"{name}{FIXED}" not in given:
            continue
        answer = given[f"{name}{FIXED}"]
        findings, repairs = diagnose(bars)
        errors, repaired = offending(bars, answer), mended(bars, repairs)
        hits, apart, but_units = (
            found(findings, errors).height,
            differing(repaired, answer),
            differing(repaired, answer, but_for_units=True),
        )
        left = diagnose(repaired)[1].height
        rules = ", ".join(
            f"{rule} {n}" for rule, n in findings["rule"].value_counts(sort=True).sort("rule").iter_rows()
        )
        print(f"{name:<30} {errors.height:>7} {hits:>6} {apart:>7} {but_units:>9} {left:>5}  {rules}")
        totals = [a + b for a, b in zip(totals, (errors.height, hits, apart == 0, but_units == 0), strict=True)]
    print(
        f"offending rows {totals[0]}, found {totals[1]}; files equal to the answer {totals[2]}, but for "
        f"units {totals[3]}\n\nalarms on repaired files and negatives:"
    )
    for name, bars in given.items():
        if name.endswith(FIXED) or f"{name}{FIXED}" not in given:
            for rule, n in diagnose(bars)[0]["rule"].value_counts(sort=True).sort("rule").iter_rows():
                print(f"  {name}: {rule} {n}")
    _injected(large_names(shared / "stocknet"))
    _speed(given["REL-L-1d-bad-div"].head(250))


def large_names(folder: Path) -> pl.DataFrame:
    """65 large names without declared payments, here declared as their adjusted closes imply them."""
    frames: list[pl.DataFrame] = []
    for path in sorted(folder.glob("*.csv.gz")):
        bars = pl.read_csv(path, infer_schema=False, null_values="null")
        frames.append(
            bars.select(
                symbol=pl.lit(path.name.removesuffix(".csv.gz")),
                session=pl.col("Date").str.to_date(),
                **{ours: pl.col(NAMES[ours]).cast(pl.Float64) for ours in (*PRICES, "adj_close", "volume")},
            )
        )
    return (
        pl.concat(frames)
        .sort("symbol", "session")
        .with_columns(
            split=pl.lit(0.0), dividend=pl.when(_STEP > SMALLEST_PAYMENT).then(_STEP * _BEFORE).otherwise(0.0)
        )
    )


def _injected(bars: pl.DataFrame, rounds: int = 5) -> None:
    """Spoil one payment (or row, or split) of every name at a time; say in how many names it was told, and how many
    came back whole.
    """
    noted = diagnose(bars)[0].select("symbol", "session", "rule").rows()
    print(
        f"\n{bars['symbol'].n_unique()} other names, {bars.filter(pl.col('dividend') > 0).height} payments: "
        f"alarms {noted}\nspoilt in turn:"
    )
    bars = bars.filter(~pl.col("symbol").is_in([symbol for symbol, *_ in noted]))
    before, series = (
        pl.col("hit").shift(-1, fill_value=False).cum_max(reverse=True).over("symbol"),
        (*PRICES, "adj_close"),
    )
    y = pl.when("hit").then(_STEP).otherwise(0.0).max().over("symbol")

    def times(where: pl.Expr, factor: pl.Expr | float, *columns: str) -> list[pl.Expr]:
        return [pl.when(where).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in columns]

    def payment(amount: float, taken: float) -> list[pl.Expr]:
        return [*times(pl.col("hit"), amount, "dividend"), *times(before, (1 - taken * y) / (1 - y), "adj_close")]

    def split(ratio: float) -> list[pl.Expr]:
        return [
            *times(before, ratio, *series),
            *times(before, 1 / ratio, "volume"),
            pl.when("hit").then(ratio).otherwise("split").alias("split"),
        ]

    spoils = {
        "amount x100": payment(100, 1),
        "amount /100": payment(0.01, 1),
        "amount and step x100": payment(100, 100),
        "amount and step /100": payment(0.01, 0.01),
        "not taken": payment(1, 0),
        "a hundredth taken": payment(1, 0.01),
        "not declared": payment(0, 1),
        "row x100": times(pl.col("hit"), 100.0, *series),
        "history x100": times(before, 100.0, *series),
        "5:1 missed": split(5),
        "3:2 missed": split(1.5),
        "1:10 missed": split(0.1),
        "2:1 declared, nothing wrong": [pl.when("hit").then(2.0).otherwise("split").alias("split")],
    }
    for what, spoil in spoils.items():
        tried = told = whole = 0
        for seed in range(rounds):
            eligible = (
                bars.filter(pl.col("dividend") > 0)
                .sample(fraction=1.0, shuffle=True, seed=seed)
                .group_by("symbol", maintain_order=True)
                .first()
            )
            marked = bars.join(
                eligible.select("symbol", "session", hit=True),
                on=["symbol", "session"],
                how="left",
                maintain_order="left",
            ).with_columns(pl.col("hit").fill_null(value=False))
            spoilt = marked.filter(pl.col("symbol").is_in(eligible["symbol"].implode())).with_columns(spoil).drop("hit")
            findings, repairs = diagnose(spoilt)
            truth = bars.rename({c: f"{c}_answer" for c in (*series, "dividend")}).select(
                "symbol", "session", pl.col("^.*_answer$")
            )
            wrong = (
                mended(spoilt, repairs)
                .join(truth, on=["symbol", "session"])
                .filter(pl.any_horizontal(differ(c, 2e-3) for c in (*series, "dividend")))
            )
            tried, told, whole = (
                tried + eligible.height,
                told + findings["symbol"].n_unique(),
                whole + eligible.height - wrong["symbol"].n_unique(),
            )
        print(f"  {what:<28} {tried:>5} told {told:>5} whole again {whole:>5}")


def _speed(bars: pl.DataFrame, names: int = 3_000, alone: int = 30) -> None:
    """`names` copies of a wrong file at once, and a few of them one at a time."""
    many = (
        bars.join(pl.DataFrame({"name": [f"N{i:04d}" for i in range(names)]}), how="cross")
        .with_columns(symbol="name")
        .drop("name")
    )
    started = time.perf_counter()
    diagnose(many)
    at_once = time.perf_counter() - started
    started = time.perf_counter()
    for one in many.filter(pl.col("symbol") < f"N{alone:04d}").partition_by("symbol"):
        diagnose(one)
    each = (time.perf_counter() - started) / alone
    print(
        f"\n{names:,} names x {bars.height} sessions: {at_once:.2f} s, {each * names / at_once:.0f} times "
        f"as fast as one name at a time"
    )


if __name__ == "__main__":
    main()
