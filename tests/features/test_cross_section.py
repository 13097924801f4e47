"""What is said of a member among its members: against NumPy, and whatever else is in the frame."""

import numpy as np
import polars as pl
import pytest

from quant_assets.features.cross_section import demeaned, finite, neutralised, ranked, standardised, winsorised, zscored


def sessions(seed: int, names: int = 60, days: int = 4) -> pl.DataFrame:
    """Sessions of members with two signals, sectors (some unknown, one of a single name), size and beta, and values
    missing everywhere.
    """
    rng = np.random.default_rng(seed)
    rows = names * days
    missing = [pl.Series(rng.random(rows) < 0.1) for _ in range(4)]
    sector = rng.choice(["A", "B", "C", "D", None], rows).tolist()
    frame = pl.DataFrame(
        {
            "session": np.repeat(np.arange(days), names),
            "sid": np.tile(np.arange(names), days),
            "sector": pl.Series(["alone" if n % names == 0 else s for n, s in enumerate(sector)], dtype=pl.String),
            "size": rng.normal(18, 2, rows),
            "beta": rng.normal(1, 0.4, rows),
        }
    ).with_columns(
        x=pl.col("size") * 0.3 + pl.Series(rng.standard_t(3, rows)),
        y=pl.col("beta") * 1e6 + pl.Series(rng.normal(0, 1e5, rows)),
    )
    return frame.with_columns(
        pl.when(~m).then(c).alias(c) for c, m in zip(("size", "beta", "x", "y"), missing, strict=True)
    )


def least_squares(day: pl.DataFrame, column: str, against: tuple[str, ...]) -> pl.DataFrame:
    """The residual of each sid by NumPy on dummies of the sectors and the covariates."""
    there = day.drop_nulls([column, *against]).with_columns(pl.col("sector").fill_null("none"))
    design = np.column_stack(
        [there.to_dummies("sector").select(pl.col("^sector_.*$")).to_numpy(), *(there[c].to_numpy() for c in against)]
    )
    scaled = design / np.linalg.norm(design, axis=0)
    target = there[column].to_numpy()
    return there.select("sid", residual=pl.Series(target - scaled @ np.linalg.lstsq(scaled, target, rcond=None)[0]))


@pytest.mark.parametrize("against", [(), ("size",), ("size", "beta"), ("size", "beta", "twice"), ("constant", "size")])
@pytest.mark.parametrize("seed", range(3))
def test_the_residual_is_that_of_least_squares(seed: int, against: tuple[str, ...]) -> None:
    """On sector dummies and covariates, nulls left out, also where a covariate repeats another or does not vary:
    NumPy's residual, relative to the column's scale to 1e-9.
    """
    frame = sessions(seed).with_columns(twice=2 * pl.col("size") + 1, constant=pl.lit(0.1))
    out = neutralised(frame, {"x_neutral": "x", "y_neutral": "y"}, against)
    for column in ("x", "y"):
        assert out.filter(pl.col(f"{column}_neutral").is_null()).equals(
            out.filter(pl.any_horizontal(pl.col(column, *against).is_null()))
        )
        for day in out.partition_by("session"):
            both = day.join(least_squares(day, column, against), on="sid").drop_nulls(f"{column}_neutral")
            assert both.height > 30
            assert (both[f"{column}_neutral"] - both["residual"]).abs().max() <= 1e-9 * frame[column].std()


def test_the_residual_is_orthogonal() -> None:
    """It sums to zero over every sector, has no product with size or beta, and a name alone in its sector is
    explained.
    """
    out = neutralised(sessions(5), {"r": "x"}, ("size", "beta")).drop_nulls("r")
    assert out.group_by("session", "sector").agg(pl.col("r").sum())["r"].abs().max() < 1e-12
    centred = out.with_columns(demeaned(c, "sector").alias(c) for c in ("size", "beta"))
    products = centred.group_by("session").agg(
        (pl.col("r") * pl.col("size")).sum(), b=(pl.col("r") * pl.col("beta")).sum()
    )
    assert products.select(pl.max_horizontal(pl.col("r").abs().max(), pl.col("b").abs().max())).item() < 1e-11
    assert out.filter(sector="alone")["r"].to_list() == [0.0] * out.filter(sector="alone").height


def everything(frame: pl.DataFrame) -> pl.DataFrame:
    """All that can be said."""
    said = frame.with_columns(
        *(
            e("x").alias(n)
            for n, e in {"rank": ranked, "z": zscored, "winsorised": winsorised, "standardised": standardised}.items()
        ),
        sector_relative=demeaned("x", "sector"),
    )
    return neutralised(said, {"neutral": "x"}, ("size", "beta"))


def test_a_session_takes_no_bit_from_another() -> None:
    """A session alone, and among others in any order, gives the same bits."""
    frame = sessions(9, names=500, days=3)
    alone = pl.concat([everything(day) for day in frame.partition_by("session", maintain_order=True)])
    assert everything(frame).equals(alone)
    order = frame["session"].unique().sample(fraction=1.0, shuffle=True, seed=1).to_list()
    shuffled = pl.concat([frame.filter(pl.col("session") == s) for s in order])
    interleaved = frame.sort("sid", "session")
    flagged, reverse = (
        frame.sort("session", maintain_order=True),
        frame.sort("session", descending=True, maintain_order=True),
    )
    for other in (shuffled, interleaved, flagged, reverse):
        assert everything(other).sort("session", "sid").equals(alone)


def test_ranks_and_scores_of_a_few() -> None:
    """By hand: ties share their mean rank, a missing value takes no part, one outlier is moved, values equal but for
    rounding have no score.
    """
    frame = pl.DataFrame({"session": [1] * 6 + [2] * 3, "x": [1.0, 2.0, 2.0, 3.0, None, 100.0, 5.0, 5.0, 5.0 + 1e-13]})
    out = frame.select(rank=ranked("x"), moved=winsorised("x"), z=zscored("x"), s=standardised("x"))
    assert out["rank"].to_list() == pytest.approx([0.1, 0.4, 0.4, 0.7, None, 0.9, 1 / 3, 1 / 3, 5 / 6])
    edge = 2.0 + 3 * 1.4826022185056018 * 1.0  # median 2, absolute deviations 1, 0, 0, 1, 98
    assert out["moved"].to_list() == pytest.approx([1.0, 2.0, 2.0, 3.0, None, edge, 5.0, 5.0, 5.0])
    given = np.array([1.0, 2.0, 2.0, 3.0, 100.0])
    kept = np.minimum(given, edge)
    assert out["z"].drop_nulls().to_list() == pytest.approx(((given - given.mean()) / given.std()).tolist())
    assert out["s"].drop_nulls().to_list() == pytest.approx(((kept - kept.mean()) / kept.std()).tolist())


def test_what_is_no_number_is_missing() -> None:
    """NaN and infinity are null before they can spoil a session."""
    frame = pl.DataFrame({"session": [1] * 4, "x": [float("nan"), float("inf"), 1.0, None]})
    assert frame.select(finite("x"))["x"].to_list() == [None, None, 1.0, None]
