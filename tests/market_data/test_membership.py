"""Who belonged to an index or a universe, as it was known."""

import inspect
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import ContractViolation
from quant_assets.market_data.membership import (
    EVENT,
    Membership,
    _plain_spans,
    _spans,
    change_faults,
    changes,
    check_intervals,
    lists,
    spell_faults,
    spells,
)
from quant_assets.moments import BeforeOpen
from quant_assets.tables import UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS

DAILY = Cuts(calendar("24/7"), BeforeOpen(0))  # every day is a session, its cut the next midnight
DAY = date(2020, 1, 1)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


def on(n: int) -> date:
    return DAY + timedelta(days=n)


def knew(n: int) -> datetime:
    """The cut of day n."""
    return DAILY.of(on(n))


def spelt(*rows: tuple[str | None, int | None, int | None]) -> pl.DataFrame:
    """Spells (symbol, start, until) in days, each with its line."""
    made = [
        (symbol, None if a is None else on(a), None if b is None else on(b), line)
        for line, (symbol, a, b) in enumerate(rows, 1)
    ]
    return pl.DataFrame(
        made, schema={"symbol": pl.String, "start": pl.Date, "until": pl.Date, "line": pl.Int64}, orient="row"
    )


def logged(*rows: tuple[int, str, bool]) -> pl.DataFrame:
    return pl.DataFrame(
        [(on(n), s, m) for n, s, m in rows],
        schema={"session": pl.Date, "symbol": pl.String, "member": pl.Boolean},
        orient="row",
    )


def listed(held: dict[int, str]) -> pl.DataFrame:
    """Full lists: day to the symbols on it, one letter each."""
    return pl.DataFrame(
        [(on(n), s, f"{n}.csv", line) for n, names in held.items() for line, s in enumerate(names, 2)],
        schema={"session": pl.Date, "symbol": pl.String, "file": pl.String, "line": pl.Int64},
        orient="row",
    )


def told(events: pl.DataFrame) -> list[str]:
    """Events in short: 3+A, 5-B."""
    return [
        f"{(d - DAY).days}{'+' if m else '-'}{s}"
        for d, s, m in events.select("session", "symbol", "member").iter_rows()
    ]


def stored(events: pl.DataFrame) -> pl.DataFrame:
    """Events as rows of INDEX_MEMBERS: known since they say, or since long ago; withdrawn where they say so."""
    origin = {"source": pl.lit("test"), "capture": pl.lit(DAY), "file": pl.lit("f"), "line": pl.lit(1)}
    known = events.with_columns(
        [pl.lit(LONG_AGO).alias("known_at")] if "known_at" not in events.columns else [],
        withdrawn=pl.col("withdrawn") if "withdrawn" in events.columns else pl.lit(value=False),
    )
    return INDEX_MEMBERS.conform(
        known.with_columns(**origin, declared_known_at="known_at").select(*INDEX_MEMBERS.schema)
    )


def during(membership: Membership, sessions: Sequence[date], cuts: Cuts = DAILY) -> dict[date, str]:
    """Session to its members, one letter each."""
    return {
        d: "".join(g["who"]) for (d,), g in membership.at(sessions, cuts).partition_by("session", as_dict=True).items()
    }  # type: ignore[misc]


# vendor shapes ------------------------------------------------------------------------------------------------------


def test_spells_are_events() -> None:
    """In at the start, out at the end, which is no longer part of it; spells that touch are one membership; what stands
    beside a spell goes with its events.
    """
    events = spells(spelt(("B", 0, 5), ("A", 0, None), ("B", 5, 9), ("B", 12, None)), "x")
    assert told(events) == ["0+A", "0+B", "9-B", "12+B"]
    assert events.columns == [*EVENT, "line"]
    assert events["line"].to_list() == [2, 1, 3, 4]
    assert during(Membership.from_index(stored(events)), [on(n) for n in (0, 4, 5, 8, 9, 11, 12)]) == {
        on(0): "AB",
        on(4): "AB",
        on(5): "AB",
        on(8): "AB",
        on(9): "A",
        on(11): "A",
        on(12): "AB",
    }


@pytest.mark.parametrize(
    ("rows", "faulty", "reason"),
    [
        ([("A", 0, 5), ("A", 4, 9)], [2], "before the one before it has ended"),
        ([("A", 4, 9), ("A", 0, 5)], [1], "before the one before it has ended"),
        ([("A", 0, None), ("A", 4, 9)], [2], "before the one before it has ended"),
        ([("A", 0, 9), ("A", 2, 3), ("A", 8, 12), ("B", 2, 3)], [2, 3], "before the one before it has ended"),
        ([("A", 5, 5), ("B", 5, 4)], [1, 2], "ends before it begins"),
        ([(None, 1, 2), ("A", None, 2)], [1, 2], "without symbol or start"),
        ([("A", 0, 5), ("A", 5, 9), ("B", 0, 9)], [], ""),
    ],
)
def test_faulty_spells_are_named(
    rows: list[tuple[str | None, int | None, int | None]], faulty: list[int], reason: str
) -> None:
    """A spell that cannot be meant is returned with its reason, and refused where it is not taken out."""
    frame = spelt(*rows)
    found = spell_faults(frame)
    assert sorted(found["line"]) == faulty
    assert all(reason in r for r in found["reason"])
    if faulty:
        with pytest.raises(ContractViolation, match="faulty spells"):
            spells(frame, "x")
    assert spells(frame.filter(~pl.col("line").is_in(faulty)), "x").height >= 0


def test_a_change_log_is_events() -> None:
    """What it says again is said once; a removal of a name that it never added stays, and makes nobody a member."""
    log = logged((3, "A", True), (4, "A", True), (7, "A", False), (5, "Z", False), (3, "A", True))
    assert told(changes(log, "x")) == ["3+A", "5-Z", "7-A"]
    assert during(Membership.from_index(stored(changes(log, "x"))), [on(n) for n in range(9)]) == {
        on(n): "A" for n in range(3, 7)
    }


def test_a_log_that_contradicts_itself() -> None:
    """One name in and out on one day is a fault of both rows, and so is a change of nobody."""
    log = logged((3, "A", True), (3, "A", False), (3, "B", True))
    assert change_faults(log)["symbol"].to_list() == ["A", "A"]
    with pytest.raises(ContractViolation, match="added and removed"):
        changes(log, "x")
    assert (
        change_faults(pl.DataFrame({"session": [on(1)], "symbol": [None], "member": [True]}, schema=log.schema)).height
        == 1
    )


@pytest.mark.parametrize(
    ("held", "events"),
    [
        ({0: "ABCDE", 31: "ABCDF"}, ["0+A", "0+B", "0+C", "0+D", "0+E", "31-E", "31+F"]),
        (
            {0: "ABCDE", 90: "ABCDF"},
            ["0+A", "0+B", "0+C", "0+D", "0+E", "90-E", "90+F"],
        ),  # two months without a list are nobody's departure
        (
            {0: "ABCDE", 31: "AF", 60: "ABCDF"},
            ["0+A", "0+B", "0+C", "0+D", "0+E", "31+F", "60-E"],
        ),  # a thin list adds, and takes nobody away
        ({0: "AB", 31: "ABC", 60: "AB"}, ["0+A", "0+B", "31+C"]),  # two of three are thin
        ({0: "ABCDE", 31: "ABCD", 60: "ABCDE"}, ["0+A", "0+B", "0+C", "0+D", "0+E", "31-E", "60+E"]),
    ],
)
def test_lists_are_the_differences_between_them(held: dict[int, str], events: list[str]) -> None:
    """Dated to the first list that shows them; a missing list says nothing, a thin one says nothing of absence."""
    out = lists(listed(held), "x")
    assert sorted(told(out)) == sorted(events)
    left = out.filter(~pl.col("member"))
    assert left["file"].to_list() == [f"{(d - DAY).days}.csv" for d in left["session"]]
    assert left["line"].null_count() == left.height


def test_lists_and_the_changes_between_them() -> None:
    """A name that the log took out is not taken out again by the next list; one that the log forgot is; on the list's
    own day the list is right.
    """
    held, log = (
        listed({0: "ABCDE", 30: "ABCDF", 60: "ABCDF"}),
        logged((10, "E", False), (20, "F", True), (60, "G", True), (40, "D", False)),
    )
    assert told(lists(held, "x", log)) == ["0+A", "0+B", "0+C", "0+D", "0+E", "10-E", "20+F", "40-D", "60+D"]


def test_weights_are_events_too() -> None:
    """A member whose weight changes stays one and has the new weight from then on."""
    held = listed({0: "AB", 10: "AB"}).with_columns(weight=pl.Series([0.6, 0.4, 0.7, 0.4]))
    events = lists(held, "x")
    assert told(events) == ["0+A", "0+B", "10+A"]
    members = Membership.from_index(stored(events)).at([on(9), on(10)], DAILY)
    assert members.rows() == [(on(9), "A", 0.6), (on(9), "B", 0.4), (on(10), "A", 0.7), (on(10), "B", 0.4)]
    assert Membership.from_index(stored(events)).intervals(on(10), DAILY).rows() == [("A", DAY, None), ("B", DAY, None)]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), st.sets(st.integers(0, 12), max_size=8), max_size=3), st.booleans())
def test_spells_log_and_lists_tell_the_same(edges: dict[str, set[int]], open_ended: bool) -> None:
    """One history told in three ways, and in any order of rows, is one membership; its intervals do not overlap and are
    the spells.
    """
    history = {
        s: [
            (a, b)
            for a, b in zip(sorted(e)[::2], [*sorted(e)[1::2], None], strict=False)
            if b is not None or open_ended
        ]
        for s, e in edges.items()
    }
    held = {
        n: "".join(s for s, spans in history.items() if any(a <= n and (b is None or n < b) for a, b in spans))
        for n in range(13)
    }
    told_as_spells = spelt(*((s, a, b) for s, spans in history.items() for a, b in spans))
    log = logged(
        *(
            row
            for s, spans in history.items()
            for a, b in spans
            for row in [(a, s, True), *([] if b is None else [(b, s, False)])]
        )
    )
    days = [on(n) for n in range(13)]
    expected = {on(n): "".join(sorted(names)) for n, names in held.items() if names}
    for events in (
        spells(told_as_spells, "x"),
        changes(log, "x"),
        spells(told_as_spells.reverse(), "x"),
        changes(log.reverse(), "x"),
    ):
        membership = Membership.from_index(stored(events))
        assert during(membership, days) == expected
        intervals = membership.intervals(on(12), DAILY)
        assert intervals.rows() == sorted(
            (s, on(a), None if b is None or b > 12 else on(b)) for s, spans in history.items() for a, b in spans
        )
        check_intervals(intervals.with_columns(pl.col("until").fill_null(date.max)), "who")


# as known ------------------------------------------------------------------------------------------------------------


def brute(rows: pl.DataFrame, session: date, cut: datetime) -> str:
    """By the definition: of each event the version last known by the cut; of those that stand, the last by the
    session.
    """
    out: list[str] = []
    for symbol in sorted(set(rows["symbol"])):
        version: dict[date, tuple[datetime, bool, bool]] = {}
        for d, k, member, withdrawn in (
            rows.filter(pl.col("symbol") == symbol).select("session", "known_at", "member", "withdrawn").iter_rows()
        ):
            if k <= cut and d <= session and (d not in version or version[d][0] < k):
                version[d] = (k, member, withdrawn)
        standing = [d for d, (_, _, withdrawn) in version.items() if not withdrawn]
        if standing and version[max(standing)][1]:
            out.append(symbol)
    return "".join(out)


VERSIONS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from("AB"), st.booleans(), st.integers(0, 6), st.booleans()),
    max_size=12,
    unique_by=lambda r: (r[0], r[1], r[3]),
)


@settings(max_examples=80, deadline=None)
@given(VERSIONS)
def test_membership_is_the_definition_read_row_by_row(versions: list[tuple[int, str, bool, int, bool]]) -> None:
    """Restated, withdrawn, announced before, told long after: each session is answered from what its own cut knew;
    asked all at once or one by one.
    """
    made = [
        {"session": on(d), "index": "x", "symbol": s, "member": m, "weight": None, "withdrawn": w, "known_at": knew(k)}
        for d, s, m, k, w in versions
    ]
    events = pl.DataFrame(made, schema={c: INDEX_MEMBERS.schema[c] for c in (*EVENT, "withdrawn", "known_at")})
    rows = stored(events)
    membership = Membership.from_index(rows)
    days = [on(n) for n in range(8)]
    expected = {d: names for d in days if (names := brute(rows, d, DAILY.of(d)))}
    assert during(membership, days) == expected
    assert {d: names for s in days for d, names in during(membership, [s]).items()} == expected
    for d in (on(3), on(7)):
        check_intervals(membership.intervals(d, DAILY).with_columns(pl.col("until").fill_null(date.max)), "who")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 2)), max_size=8))
def test_what_came_in_order_needs_no_replay(steps: list[tuple[int, bool, int]]) -> None:
    """Events known in the order in which they happen have the spans that telling them one by one gives."""
    days, known = accumulate(1 + d for d, _, _ in steps), accumulate(k for _, _, k in steps)
    told = [(on(d), knew(k), None, m) for d, k, (_, m, _) in zip(days, known, steps, strict=True)]
    plain = _plain_spans(
        pl.DataFrame(
            [("A", *t) for t in told],
            schema={
                "symbol": pl.String,
                "session": pl.Date,
                "known_at": UTC_MICROS,
                "weight": pl.Float64,
                "member": pl.Boolean,
            },
            orient="row",
        )
    )
    assert sorted(plain.drop("who", "weight").rows()) == sorted(
        (start, until, since, superseded) for start, until, _, since, superseded in _spans(told)
    )


def test_an_entry_that_was_announced_is_no_membership_yet() -> None:
    """Known on day 2, effective on day 5: nobody before; and if it is called off on day 4, nobody at all."""
    entry = {"index": "x", "symbol": "A", "session": on(5), "member": True, "weight": None}
    announced = pl.DataFrame(
        [{**entry, "withdrawn": False, "known_at": knew(2)}],
        schema={c: INDEX_MEMBERS.schema[c] for c in (*EVENT, "withdrawn", "known_at")},
    )
    called_off = announced.with_columns(withdrawn=pl.lit(value=True), known_at=pl.lit(knew(4)))
    days = [on(n) for n in range(8)]
    assert during(Membership.from_index(stored(announced)), days) == {on(n): "A" for n in (5, 6, 7)}
    assert during(Membership.from_index(stored(pl.concat([announced, called_off]))), days) == {}


def universe(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    """UNIVERSE rows of (sid, start, until, known), in days."""
    return UNIVERSE.conform(
        pl.DataFrame(
            [
                {
                    "session": on(a),
                    "until": on(b),
                    "universe": "u",
                    "sid": sid,
                    "rank": 1,
                    "dollar_volume": 1.0,
                    "known_at": knew(k),
                }
                for sid, a, b, k in rows
            ],
            schema=dict(UNIVERSE.schema),
        )
    )


def test_a_universes_members_are_those_of_its_intervals() -> None:
    """From the first session of an interval to the one before its end, if it was known by then; whoever left is
    remembered, and for so long only.
    """
    membership = Membership.from_universe(universe((1, 0, 5, 0), (1, 5, 9, 5), (2, 0, 5, 0), (3, 5, 9, 7)))
    days = [on(n) for n in (-1, 0, 4, 5, 6, 7, 8, 9)]
    found = {
        d: g["who"].to_list() for (d,), g in membership.at(days, DAILY).partition_by("session", as_dict=True).items()
    }
    assert found == {on(0): [1, 2], on(4): [1, 2], on(5): [1], on(6): [1], on(7): [1, 3], on(8): [1, 3]}
    asked = [on(4), on(5), on(35), on(36)]
    assert membership.former(asked, DAILY, months=1).rows() == [
        (on(5), 2),
        (on(35), 1),
        (on(35), 2),
        (on(35), 3),
        (on(36), 1),
        (on(36), 3),
    ]
    assert membership.intervals(on(8), DAILY).rows() == [(1, on(0), on(9)), (2, on(0), on(5)), (3, on(5), on(9))]


# intervals -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 8), st.integers(0, 8)), max_size=6))
def test_intervals_are_half_open_and_do_not_overlap(rows: list[tuple[int, int, int]]) -> None:
    """Refused exactly where a day belongs to two intervals of one name, or an interval has no day."""
    frame = pl.DataFrame(
        [(sid, on(a), on(b)) for sid, a, b in rows],
        schema={"sid": pl.Int64, "start": pl.Date, "until": pl.Date},
        orient="row",
    )
    days = [(sid, n) for sid, a, b in rows for n in range(a, b)]
    if len(days) == len(set(days)) and all(a < b for _, a, b in rows):
        check_intervals(frame)
    else:
        with pytest.raises(ContractViolation, match="intervals"):
            check_intervals(frame)


def test_a_universe_whose_intervals_overlap_is_refused() -> None:
    """Two intervals of one name at one time cannot both be its membership; an interval without an end is none."""
    with pytest.raises(ContractViolation, match="overlap"):
        Membership.from_universe(universe((1, 0, 5, 0), (1, 4, 9, 4)))
    with pytest.raises(ContractViolation, match="without sid"):
        check_intervals(
            pl.DataFrame(
                {"sid": [1], "start": [on(0)], "until": [None]},
                schema={"sid": pl.Int64, "start": pl.Date, "until": pl.Date},
            )
        )


# the survivorship guard ----------------------------------------------------------------------------------------------


def test_membership_needs_to_know_since_when_it_was_known() -> None:
    """Rows without a knowledge time, or with an unknown one, make no membership: today's list is no history."""
    today = pl.DataFrame({"who": ["A"], "start": [on(0)], "until": [on(9)], "weight": [None]})
    # the point: a time without a zone
    naive = today.with_columns(known_at=pl.lit(datetime(2020, 1, 1)))  # noqa: DTZ001
    unknown = today.with_columns(known_at=pl.lit(None, pl.Datetime("us", "UTC")))
    for rows in (today, naive, unknown):
        with pytest.raises(ContractViolation, match="knowledge time"):
            Membership(rows)


def test_membership_is_of_one_index_or_universe() -> None:
    """Rows of two at once, or a list without its knowledge time, are refused by name."""
    two = stored(pl.concat([changes(logged((0, "A", True)), index) for index in ("x", "y")]))
    with pytest.raises(ContractViolation, match=r"\['x', 'y'\]"):
        Membership.from_index(two)
    with pytest.raises(ContractViolation, match=r"lack \['known_at'"):
        Membership.from_index(two.drop("known_at"))
    with pytest.raises(ContractViolation, match=r"lack \['known_at'"):
        Membership.from_universe(universe((1, 0, 5, 0)).drop("known_at"))


def test_membership_answers_for_cuts_only() -> None:
    """Whatever it can be asked takes sessions and the cuts that go with them; what it holds is nobody's to read."""
    asked = {
        name: inspect.signature(f)
        for name, f in inspect.getmembers(Membership, inspect.isfunction)
        if not name.startswith("_")
    }
    assert asked.keys() == {"at", "former", "intervals"}
    for name, signature in asked.items():
        assert signature.parameters["cuts"].annotation is Cuts, name
        assert signature.parameters["cuts"].default is inspect.Parameter.empty, name
    held = Membership.from_universe(universe((1, 0, 5, 0)))
    assert not [name for name in vars(held) if not name.startswith("_")]


def test_nobody_is_asked_about() -> None:
    """No session, or no member that anybody ever had: an empty answer with its columns."""
    for membership, who in (
        (Membership.from_universe(UNIVERSE.empty()), pl.Int64),
        (Membership.from_index(INDEX_MEMBERS.empty()), pl.String),
    ):
        for sessions in ([], [on(1)]):
            assert dict(membership.at(sessions, DAILY).schema) == {"session": pl.Date, "who": who, "weight": pl.Float64}
            assert dict(membership.former(sessions, DAILY).schema) == {"session": pl.Date, "who": who}
    assert Membership.from_universe(universe((1, 0, 5, 0))).at([], DAILY).is_empty()
