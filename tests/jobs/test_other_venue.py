"""Features of New York that read the bars of London, as far as they are known at New York's cut."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from textwrap import dedent

import msgspec
import polars as pl
import pytest

from desk.day import arrive, derive
from desk.deployment import Deployment, load
from desk.workspace import Workspace
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError, ContractViolation
from quant_assets.features import declared
from quant_assets.features.audit.audit import audit
from quant_assets.features.declared import declare
from quant_assets.features.inputs.venues import venue_return
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.markets import elsewhere
from quant_assets.ports import MarketDataSource, Store
from quant_assets.records import Capture
from quant_assets.tables import BARS, UNIVERSE
from resources.tables.store import DeltaStore
from tests.conftest import REPOSITORY
from tests.jobs import two_venues

LONDON = venue_return("XLON")
WEEKS = (date(2025, 8, 18), date(2025, 9, 5))  # London rests on 25 August, New York on 1 September


def _after_london(panel: pl.DataFrame) -> pl.DataFrame:
    """The kernel: what London did, how long ago, and one's own return over that."""
    own = pl.col("close") / pl.col("close").shift(1).over("series") - 1
    return panel.with_columns(london="return_XLON", age="age_XLON", beyond=own - pl.col("return_XLON"))


AFTER_LONDON = declare(
    FeatureSet("after_london", "1", ("london", "age", "beyond"), ("close",), 3, _after_london, inputs=(LONDON,))
)


def _too_early(store: Store, _cuts: Cuts, _universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """London's mean close of the same day, whenever it is known."""
    table = elsewhere(BARS, "XLON")
    rows = in_force(store.read(table, as_of=None, first=min(sessions), last=max(sessions)), BARS)
    return rows.group_by("session").agg(return_XLON=pl.col("close").mean(), age_XLON=pl.lit(0.0)).sort("session")


LEAK = replace(AFTER_LONDON, name="leak", inputs=(replace(LONDON, read=_too_early),))


def deployment(*, strategies: bool = True) -> Deployment:
    """New York's strategy reads London; London has its own strategy, or none."""
    whole = two_venues.deployment()
    new_york = msgspec.structs.replace(two_venues.NEW_YORK, feature_set=AFTER_LONDON.name)
    other = (two_venues.LONDON,) if strategies else ()
    return msgspec.structs.replace(whole, strategies=(new_york, *other), books=())


class Late:
    """London's vendor, of which one delivery came some days later in New York's afternoon, behind its cut."""

    def __init__(self, vendor: MarketDataSource, label: date, days: int) -> None:
        self.name = vendor.name
        self._vendor = vendor
        self._label = label
        self._days = days

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return self._vendor.labels(first, last)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port."""
        return self._vendor.fingerprints(labels)

    def fetch(self, label: date) -> Capture:
        """See the port."""
        found = self._vendor.fetch(label)
        if label != self._label:
            return found
        return msgspec.structs.replace(
            found, known_at=datetime.combine(label + timedelta(days=self._days), time(20), UTC)
        )


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """New York's features of a range."""
    own = two_venues.workspace(tmp_path_factory.mktemp("range"), deployment()).lanes[0]
    lived(own, by_day=False)
    return own


def lived(own: Workspace, *, by_day: bool, over: tuple[date, date] = WEEKS) -> None:
    """History, then the weeks in one range or a day at a time; London's deliveries come with New York's run."""
    calendar = own.cuts.calendar
    before, weeks = calendar.between(date(2025, 8, 1), calendar.before(over[0])), calendar.between(*over)
    for part in [before, *([[d] for d in weeks] if by_day else [weeks])]:
        list(arrive(own, part[-1]))
        list(derive(own, part, train_at=[]))


def features(own: Workspace, over: tuple[date, date] = WEEKS) -> pl.DataFrame:
    """What was published of the weeks."""
    rows = own.store.read(AFTER_LONDON.table, as_of=None, first=over[0], last=over[1])
    return rows.select("session", "sid", "london", "age", "beyond").sort("session", "sid")


def test_a_session_reads_what_was_known_of_london(ranged: Workspace) -> None:
    """Of each session the last one of London that is known at the cut, through holidays on either side; its return is
    that of the names, by London's own store at that time.
    """
    rows, london = features(ranged), ranged.peers[1]
    by_session = rows.select("session", "age", "london").unique().sort("session")
    assert by_session["session"].to_list() == ranged.cuts.calendar.between(*WEEKS)
    for session, age, moved in by_session.select("session", "age", "london").iter_rows():
        cut = ranged.cuts.of(session)
        bars = in_force(london.store.read(BARS, as_of=cut), BARS)
        before, last = bars["session"].unique().sort().to_list()[-2:]
        assert age == (cut.date() - last).days
        both = (bars.filter(session=day).select("sid", "close") for day in (last, before))
        plain = next(both).join(next(both), on="sid", suffix="_before")
        mean = (plain["close"] / plain["close_before"] - 1).mean()
        assert moved == pytest.approx(mean, abs=0.01), "without what was paid, and splits are rare"
    ages = dict(by_session.select("session", "age").iter_rows())
    assert (ages[date(2025, 8, 25)], ages[date(2025, 8, 27)], ages[date(2025, 8, 29)]) == (4.0, 1.0, 1.0)
    assert by_session["london"].n_unique() > 12
    assert rows["beyond"].null_count() == 0


@pytest.mark.parametrize("strategies", [True, False], ids=["a strategy there", "none there"])
def test_a_range_equals_its_days(ranged: Workspace, tmp_path: Path, strategies: bool) -> None:
    """Day by day New York's run brings London's deliveries itself, whether or not London is traded."""
    own = two_venues.workspace(tmp_path, deployment(strategies=strategies)).lanes[0]
    lived(own, by_day=True)
    assert features(own).equals(features(ranged))


@pytest.mark.parametrize(
    ("over", "late", "ages"),
    [
        # New York opens an hour nearer to London's close while London alone has changed its clocks
        ((date(2025, 10, 20), date(2025, 11, 7)), None, {date(2025, 10, 23): 1.0, date(2025, 10, 28): 1.0}),
        # half days of both on the 24th, London rests on the 25th and 26th too
        ((date(2025, 12, 18), date(2025, 12, 30)), None, {date(2025, 12, 24): 2.0, date(2025, 12, 26): 5.0}),
        # London's Wednesday comes on Thursday evening: Wednesday's cut here knows Tuesday
        (
            (date(2025, 9, 8), date(2025, 9, 19)),
            (date(2025, 9, 10), 1),
            {date(2025, 9, 9): 1.0, date(2025, 9, 10): 2.0, date(2025, 9, 11): 1.0},
        ),
        # it comes on Friday evening, when Thursday's has been there since the morning
        (
            (date(2025, 9, 8), date(2025, 9, 19)),
            (date(2025, 9, 10), 2),
            {date(2025, 9, 9): 1.0, date(2025, 9, 10): 2.0, date(2025, 9, 11): 1.0},
        ),
    ],
    ids=["clocks", "half days", "a late delivery", "one that is overtaken"],
)
def test_clocks_half_days_and_late_deliveries(
    tmp_path: Path, over: tuple[date, date], late: tuple[date, int] | None, ages: dict[date, float]
) -> None:
    """What was known at each cut, by day and by range; what comes late changes no earlier cut."""
    found: list[pl.DataFrame] = []
    for by_day in (True, False):
        own = two_venues.workspace(tmp_path / str(by_day), deployment()).lanes[0]
        london = own.peers[1]
        if late is not None:
            london.source = Late(london.source, *late)
        lived(own, by_day=by_day, over=over)
        found.append(features(own, over))
    assert found[0].equals(found[1])
    known = dict(found[0].select("session", "age").unique().iter_rows())
    assert {session: known[session] for session in ages} == ages


def test_the_audit_looks_at_both_venues(ranged: Workspace) -> None:
    """The honest set keeps every law; one that reads London's bars before they are known is caught."""
    universe, sessions = two_venues.NEW_YORK.universe.name, ranged.cuts.calendar.between(*WEEKS)
    about = (universe, ranged.cuts, sessions)
    now = ranged.cuts.of(sessions[-1])
    honest = audit(ranged.store, AFTER_LONDON, *about, now=now, most=2)
    assert honest.filter(~pl.col("passed")).select("law", "evidence").rows() == []
    leaky = audit(ranged.store, LEAK, *about, now=now, most=2).filter(~pl.col("passed"))
    assert "poisoned_future" in set(leaky["law"])


def test_a_market_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    """The file is refused, with the calendar that it lacks."""
    file = tmp_path / "deployment.yaml"
    file.write_text(
        "start: 2025-06-02\nsource: {kind: simulated, first: 2024-06-03, last: 2025-06-30}\n"
        f"strategies: [{{name: s, feature_set: {AFTER_LONDON.name}}}]\nbooks: []\n"
    )
    with pytest.raises(ConfigurationError, match="reads the bars of XLON; declare their source under `markets`"):
        load(file)


def test_one_set_reads_two_venues() -> None:
    """Their columns are named after their calendars, and the same venue is the same input wherever it is read."""
    always, tokyo = venue_return("24/7"), venue_return("XTKS")
    assert [*always.columns, *tokyo.columns] == ["return_24_7", "age_24_7", "return_XTKS", "age_XTKS"]
    assert venue_return("XLON") is LONDON


def test_the_example_of_the_page_is_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of decision 046 declare a set that reads London."""
    monkeypatch.setattr(declared, "DECLARED", {})
    page = (REPOSITORY / "docs/decisions/046-other-venues.md").read_text()
    block = page.partition("A set that reads it:\n")[2].partition("**Rejected.**")[0]
    exec(dedent(block), {"pl": pl, "declare": declare, "FeatureSet": FeatureSet})  # noqa: S102  # our own page
    assert [one.markets for one in declared.DECLARED["after_london"].inputs] == [("XLON",)]


def test_without_the_market_nothing_is_read_in_silence(tmp_path: Path) -> None:
    """A home of one market has no other one's bars; and only tables of instruments are read elsewhere."""
    with pytest.raises(ContractViolation, match="no market of XLON here"):
        DeltaStore(tmp_path).read(elsewhere(BARS, "XLON"), as_of=None)
    with pytest.raises(ValueError, match="universe is not among the tables of instruments"):
        elsewhere(UNIVERSE, "XLON")
