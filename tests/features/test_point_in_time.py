"""What a cut could know, against the law written out row by row."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.contract import Table, in_force, known_by
from quant_assets.errors import ContractViolation
from quant_assets.features.point_in_time import View, point_in_time

SCHEMA = {"sid": pl.Int64, "session": pl.Int64, "known_at": pl.Int64, "value": pl.Float64, "withdrawn": pl.Boolean}
TABLE = Table("view", "Of the tests.", SCHEMA, key=("sid", "session", "known_at"))
SPINE = {"sid": pl.Int64, "ts": pl.Int64}
ANSWER = ("value", "session", "known_at")


def law(spine: pl.DataFrame, frame: pl.DataFrame, table: Table, tolerance: object = None) -> pl.DataFrame:
    """Each spine row alone: known by the cut, in force, not after the cut, the latest event."""
    answers = []
    for sid, ts in spine.select("sid", "ts").iter_rows():
        standing = in_force(known_by(frame, ts), table).filter(
            pl.col("sid") == pl.lit(sid, frame["sid"].dtype), pl.col("session") <= pl.lit(ts, spine["ts"].dtype)
        )
        if tolerance is not None:
            standing = standing.filter(pl.lit(ts, spine["ts"].dtype) - pl.col("session") <= pl.lit(tolerance))
        latest = standing.sort("session").tail(1).select(ANSWER)
        answers.append(latest.row(0) if latest.height else (None, None, None))
    answered = pl.DataFrame(answers, schema={f"v_{c}": frame[c].dtype for c in ANSWER}, orient="row")
    return pl.concat([spine, answered], how="horizontal")


def rows(keys: list[tuple[int, int, int, bool]]) -> pl.DataFrame:
    """A view with one value per row, all different."""
    return pl.DataFrame([(s, e, k, float(n), w) for n, (s, e, k, w) in enumerate(keys)], schema=SCHEMA, orient="row")


small = st.integers(0, 7)
keys = st.sampled_from(
    [(False,), (False, False, True)]
).flatmap(  # half of the views have nothing withdrawn
    lambda withdrawn: st.lists(
        st.tuples(st.integers(1, 3), small, small, st.sampled_from(withdrawn)),
        max_size=40,
        unique_by=lambda key: key[:3],
    )
)
asked = st.lists(st.tuples(st.integers(1, 4), small), max_size=8)


@settings(max_examples=300, deadline=None)
@given(keys=keys, asked=asked, tolerance=st.none() | st.integers(0, 3))
def test_the_join_is_the_law(
    keys: list[tuple[int, int, int, bool]], asked: list[tuple[int, int]], tolerance: int | None
) -> None:
    """Restated, withdrawn, reinstated, announced ahead and tied rows, in any order: the answer is that of reading each
    cut alone.
    """
    spine, frame = pl.DataFrame(asked, schema=SPINE, orient="row"), rows(keys)
    assert point_in_time(spine, [View("v", frame, ANSWER, tolerance=tolerance)]).equals(
        law(spine, frame, TABLE, tolerance)
    )


@settings(max_examples=100, deadline=None)
@given(keys=keys, asked=asked, until=small)
def test_what_comes_later_changes_nothing(
    keys: list[tuple[int, int, int, bool]], asked: list[tuple[int, int]], until: int
) -> None:
    """The answers up to a cut are the same with and without all that became known after it, and whatever other rows are
    asked for.
    """
    spine, frame = pl.DataFrame(asked, schema=SPINE, orient="row"), rows(keys)
    all_at_once = point_in_time(spine, [View("v", frame, ANSWER)])
    early = point_in_time(spine.filter(pl.col("ts") <= until), [View("v", known_by(frame, until), ANSWER)])
    assert early.equals(all_at_once.filter(pl.col("ts") <= until))


@pytest.mark.parametrize(
    ("keys", "ts", "expected"),
    [
        (
            [(1, 1, 2, False), (1, 2, 3, False), (1, 1, 5, False)],
            6,
            1.0,
        ),  # a late restatement of an older event does not win
        ([(1, 1, 2, False), (1, 2, 3, False), (1, 2, 5, False)], 6, 2.0),  # one of the latest event does
        ([(1, 1, 2, False), (1, 2, 3, False), (1, 2, 5, False)], 4, 1.0),  # but not before it is known
        ([(1, 1, 2, False)], 2, 0.0),  # known at the cut itself
        ([(1, 1, 2, False)], 1, None),  # not known yet
        ([(1, 1, 2, False), (1, 2, 2, False)], 2, 1.0),  # two events in one delivery
        ([(1, 1, 2, False), (1, 2, 3, False), (1, 2, 4, True)], 5, 0.0),  # withdrawn: the event before it
        (
            [(1, 1, 2, False), (1, 2, 3, False), (1, 1, 4, False), (1, 2, 5, True)],
            6,
            2.0,
        ),  # in the version known by then
        ([(1, 1, 2, False), (1, 1, 3, True)], 3, None),  # withdrawn, and nothing before it
        ([(1, 1, 2, False), (1, 1, 3, True), (1, 1, 4, False)], 4, 2.0),  # reinstated
        (
            [(0, 2, 2, False), (1, 2, 5, False), (1, 3, 4, True)],
            4,
            None,
        ),  # a neighbour's row of the same event does not stand in
        ([(1, 1, 1, False), (1, 6, 2, False)], 5, 0.0),  # announced ahead: not before its time
        ([(1, 1, 1, False), (1, 6, 2, False)], 6, 1.0),  # from its time on
        ([(1, 6, 2, False), (1, 6, 3, False)], 6, 1.0),  # in the version known by then
    ],
)
def test_cases(keys: list[tuple[int, int, int, bool]], ts: int, expected: float | None) -> None:
    """The traps, one by one."""
    spine = pl.DataFrame(
        {"sid": [1] * 9 + [0], "ts": [*range(9), 0]}
    )  # a cut at every moment, so that the rows are learnt one by one
    assert point_in_time(spine, [View("v", rows(keys), ("value",))])["v_value"][ts] == expected


def test_the_naive_as_of_join_falls_into_the_trap() -> None:
    """The table of cases would notice: the latest known_at gives the restated older event."""
    spine, frame = pl.DataFrame({"sid": [1], "ts": [6]}), rows([(1, 1, 2, False), (1, 2, 3, False), (1, 1, 5, False)])
    assert spine.join_asof(frame.sort("known_at"), left_on="ts", right_on="known_at", by="sid", check_sortedness=False)[
        "value"
    ].to_list() == [2.0]


def test_times_are_dates_and_utc() -> None:
    """Sessions are dates, cuts UTC: a session counts from its midnight UTC on, and ages are durations."""
    at = datetime(2024, 3, 5, 13, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "sid": ["A", "A", "A"],
            "session": [date(2024, 3, 1), date(2024, 3, 4), date(2024, 3, 6)],
            "known_at": [at - timedelta(days=3), at, at - timedelta(days=9)],
            "close": [1, 2, 3],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    spine = pl.DataFrame(
        {"ts": [at, at - timedelta(seconds=1), at + timedelta(days=1), at + timedelta(days=30)], "sid": ["A"] * 4},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    views = [View("bars", frame, ("close",)), View("fresh", frame, ("close",), tolerance=timedelta(days=3))]
    assert point_in_time(spine, views).select("bars_close", "fresh_close").rows() == [
        (2, 2),
        (1, None),
        (3, 3),
        (3, None),
    ]


def test_an_event_without_a_time_only_orders() -> None:
    """A fiscal quarter's number beside times of knowledge: no bound by the cut, and no age."""
    at = datetime(2024, 3, 5, tzinfo=UTC)
    frame = pl.DataFrame(
        {"sid": [1, 1], "quarter": [20234, 20233], "known_at": [at, at + timedelta(days=1)], "eps": [1.0, 2.0]},
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    spine = pl.DataFrame(
        {"sid": [1], "ts": [at + timedelta(days=2)]}, schema_overrides={"ts": pl.Datetime("us", "UTC")}
    )
    assert point_in_time(spine, [View("r", frame, ("eps",), event="quarter")])["r_eps"].to_list() == [1.0]
    with pytest.raises(ContractViolation, match="no time beside known_at"):
        point_in_time(spine, [View("r", frame, ("eps",), event="quarter", tolerance=timedelta(days=1))])


def test_views_about_other_things() -> None:
    """One series for all, two columns that name a subject, one view twice, empty views; the spine's rows stay in their
    order, even twice.
    """
    spine = pl.DataFrame(
        {"sid": [2, 1, 2, 2], "kind": ["b", "a", "a", "b"], "ts": [9, 5, 5, 9], "label": [0.1, 0.2, 0.3, 0.1]}
    )
    rates = pl.DataFrame({"session": [4, 6], "known_at": [4, 7], "rate": [1.0, 2.0]})
    borrow = pl.DataFrame(
        {"kind": ["b", "a", "a"], "sid": [2, 1, 3], "session": [1, 1, 1], "known_at": [8, 5, 1], "fee": ["x", "y", "z"]}
    )
    views = [
        View("fx", rates, ("rate",), by=()),
        View("l", borrow, ("fee",), by=("sid", "kind")),
        View("none", borrow.clear(), ("fee",), by=("sid", "kind")),
        View("no", rates.clear(), ("rate",), by=()),
    ]
    out = point_in_time(spine, views)
    assert out.drop("fx_rate", "l_fee", "none_fee", "no_rate").equals(spine)
    assert out.select("fx_rate", "l_fee").rows() == [(2.0, "x"), (1.0, "y"), (1.0, None), (2.0, "x")]
    assert out.select("none_fee", "no_rate").null_count().row(0) == (4, 4)
    assert point_in_time(spine.clear(), views).schema == out.schema
    assert point_in_time(spine, []).equals(spine)


@pytest.mark.parametrize(
    ("spine", "view", "says"),
    [
        ({}, {"frame": rows([(1, 1, 1, False)] * 2)}, r"occurs more than once, for example \[\(1, 1, 1\)\]"),
        ({"ts": [None]}, {}, r"null in \['ts \(of the spine\)'\]"),
        (
            {},
            {"frame": rows([(1, 1, 1, False)]).with_columns(session=pl.lit(None, pl.Int64))},
            r"null in \['session'\]",
        ),
        ({"sid": ["1"]}, {}, "sid is Int64, the spine's sid String"),
        ({"ts": [1.5]}, {}, "known_at is Int64, the spine's ts Float64"),
        ({}, {"values": ("close",)}, r"missing \['close'\]"),
        ({}, {"by": ("series",)}, r"series \(of the spine\)"),
        ({"v_value": [1.0]}, {}, r"\['v_value'\] would stand twice"),
    ],
)
def test_what_cannot_be_answered_is_refused(spine: dict, view: dict, says: str) -> None:
    """An unclear key, type or name is an error that says which."""
    asked = pl.DataFrame(
        {"sid": [1], "ts": [5], **spine}, schema_overrides={"ts": pl.Int64} if spine.get("ts") == [None] else None
    )
    with pytest.raises(ContractViolation, match=says):
        point_in_time(asked, [View(**{"name": "v", "frame": rows([]), "values": ("value",), **view})])


def test_real_reports(shared_data: Path) -> None:
    """Real filings, of which some restate older periods late: on every tenth capture day the join is the law for twenty
    names, and the naive join is not.
    """
    reports = pl.read_parquet(shared_data / "pystock" / "sec_reports_to_20160630.parquet").select(
        sid="symbol", session="end_date", known_at="captured_on", value="revenues"
    )
    frame = reports.drop_nulls(["sid", "session", "known_at"]).unique(
        ["sid", "session", "known_at"], keep="first", maintain_order=True
    )
    late = frame.sort("sid", "known_at", "session").filter(pl.col("session") < pl.col("session").cum_max().over("sid"))
    names = late["sid"].unique(maintain_order=True).head(20)
    frame = frame.filter(pl.col("sid").is_in(names.implode()))
    days = frame.select(ts=pl.col("known_at").unique().sort()).gather_every(10)
    spine = days.join(names.to_frame(), how="cross")
    schema = {"sid": pl.String, "session": pl.Date, "known_at": pl.Date, "value": pl.Float64}
    answer = point_in_time(spine, [View("v", frame, ANSWER)])
    assert answer.equals(law(spine, frame, Table("reports", "Real.", schema, key=("sid", "session", "known_at"))))
    naive = spine.sort("ts").join_asof(
        frame.sort("known_at", "session"), left_on="ts", right_on="known_at", by="sid", check_sortedness=False
    )
    assert not naive["session"].equals(answer.sort("ts", maintain_order=True)["v_session"])
