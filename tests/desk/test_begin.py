"""The first deployment of a file of one's own: what the file decides is written, what it does not decide is asked."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from desk.begin import Undecided, first_deployment
from desk.begin.answers import pairs
from desk.deployment import Deployment, load
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from resources.sources.files import PriceFile
from tests.desk.own_files import prices, sessions


def written(tmp_path: Path, file: Path, **answers: str) -> Deployment:
    """The deployment as it is loaded again: it has no fault."""
    path = tmp_path / "deployment.yaml"
    path.write_text(first_deployment(str(file), answers).text)
    return load(path)


@pytest.mark.parametrize("names", [2, 3, 5, 21, 60, 120])
def test_a_strategy_of_any_number_of_names_can_hold_what_it_chooses(tmp_path: Path, names: int) -> None:
    """Its best names together are all equity and none is beyond its limit; its universe has enough members."""
    found = written(tmp_path, prices(tmp_path / "p.csv", sessions(180), names))
    (strategy,) = found.strategies
    assert strategy.universe.size == names
    assert strategy.limits.min_members <= names
    assert strategy.holdings < names
    assert 1 / strategy.holdings <= strategy.limits.max_weight
    assert (found.calendar, found.source.mapping.session) == ("XNYS", "Date")  # type: ignore[union-attr]
    assert sorted(b.name for b in found.books) == ["paper", "research"]


@pytest.mark.parametrize(
    ("code", "first", "right"),
    [
        ("XNYS", date(2023, 1, 3), "XNYS"),
        ("24/7", date(2023, 1, 3), "24/7"),
        ("XLON", date(2023, 1, 3), "XLON"),
        ("XTKS", date(2023, 1, 4), "XTKS"),
        ("FX", date(2023, 1, 3), "FX"),
        ("XASX", date(2023, 1, 3), "XASX"),
    ],
)
def test_the_calendar_is_the_one_of_the_days(tmp_path: Path, code: str, first: date, right: str) -> None:
    """Of a year of days no other calendar has all and only these."""
    assert written(tmp_path, prices(tmp_path / "p.csv", sessions(200, code, first), 2)).calendar == right


def test_days_that_are_no_sessions_are_counted(tmp_path: Path) -> None:
    """A vendor's rows of two holidays do not change the calendar; they are named."""
    days = [*sessions(200), date(2023, 7, 4), date(2023, 1, 16)]
    draft = first_deployment(str(prices(tmp_path / "p.csv", sorted(days), 3)), {})
    assert (draft.fit.code, draft.fit.outside) == ("XNYS", (date(2023, 1, 16), date(2023, 7, 4)))
    assert "2 days of the files are none of its sessions (2023-01-16, 2023-07-04)" in " ".join(draft.text.split())


def test_days_of_no_calendar_are_asked_for(tmp_path: Path) -> None:
    """Every third day is traded nowhere; a calendar that is named is used."""
    file = prices(tmp_path / "p.csv", [date(2023, 1, 2) + timedelta(days=3 * n) for n in range(60)], 2)
    with pytest.raises(ConfigurationError, match="--set calendar=CODE"):
        first_deployment(str(file), {})
    assert first_deployment(str(file), {"calendar": "XLON"}).fit.chosen


def test_days_that_may_be_two_are_asked_for_and_never_guessed(tmp_path: Path) -> None:
    """Days up to the twelfth of each month can be read both ways; the answer is used."""
    days = [d for d in sessions(200) if d.day <= 12 and (d.replace(day=d.month, month=d.day)).weekday() < 5]
    file = prices(tmp_path / "p.csv", days, 2, form="%d/%m/%Y")
    with pytest.raises(Undecided, match=r"--set 'mapping\.session\.format=%d/%m/%Y'"):
        first_deployment(str(file), {})
    answers = pairs(["mapping.session.format=%d/%m/%Y", "calendar=XNYS"])
    draft = first_deployment(str(file), answers)
    assert (draft.fit.first, draft.fit.last) == (days[0], days[-1])


def test_days_that_one_row_decides_are_not_asked_for(tmp_path: Path) -> None:
    """The thirteenth is no month; with semicolons and decimal commas."""
    file = prices(tmp_path / "p.csv", sessions(150), 3, form="%d/%m/%Y", mark=";", point=",")
    source = written(tmp_path, file).source
    assert isinstance(source, PriceFile)
    assert (source.decimal, source.mapping.session.format) == (",", "%d/%m/%Y")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("names", "count", "volume", "why"),
    [
        (1, 200, 1000, "there is one; give a file of two names or more"),
        (3, 40, 1000, "40 sessions are too few: the first model needs 61"),
        (3, 200, 0, "have no volume"),
        (3, 100, 1000, ""),
    ],
)
def test_what_keeps_a_strategy_from_trading_is_one_sentence(
    tmp_path: Path, names: int, count: int, volume: int, why: str
) -> None:
    """And the deployment is written all the same: the data can be read and reported."""
    draft = first_deployment(str(prices(tmp_path / "p.csv", sessions(count), names, volume=volume)), {})
    assert why in draft.sizes.why
    assert bool(draft.sizes.why) == bool(why)
    assert len(written(tmp_path, tmp_path / "p.csv").strategies) == 1


def test_a_missing_column_is_asked_for(tmp_path: Path) -> None:
    """With the columns that there are; the one that is named is read."""
    head = ("Ticker", "Date", "Open", "High", "Low", "Fixing", "Volume")
    file = prices(tmp_path / "p.csv", sessions(150), 3, head=head)
    with pytest.raises(Undecided, match=r"no column seems to be the close; the columns are Ticker.*Fixing"):
        first_deployment(str(file), {})
    assert written(tmp_path, file, **{"mapping.close": "Fixing"}).source.mapping.close == "Fixing"  # type: ignore[union-attr]


@pytest.mark.parametrize("column", ["adj_close", "Adj Close"])
def test_an_adjusted_close_is_mapped_whatever_it_is_called(tmp_path: Path, column: str) -> None:
    """A field that is not used unless it is named is named."""
    lines = prices(tmp_path / "p.csv", sessions(150), 2).read_text().splitlines()
    rows = [f"{lines[0]},{column}", *(f"{line},{line.split(',')[5]}" for line in lines[1:])]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    assert written(tmp_path, tmp_path / "p.csv").source.mapping.adj_close == column  # type: ignore[union-attr]


def test_rows_that_come_twice_are_asked_for(tmp_path: Path) -> None:
    """Each delivery has the last three sessions: the column of deliveries is proposed, and read where it is named."""
    one = prices(tmp_path / "one.csv", sessions(150), 2).read_text().splitlines()
    days = [str(d) for d in sessions(150)]
    rows = [f"{line},{when}" for line in one[1:] for when in _after(days, line.split(",")[1])]
    file = tmp_path / "p.csv"
    file.write_text("\n".join([f"{one[0]},captured", *rows]) + "\n")
    with pytest.raises(Undecided, match=r"--set 'mapping.label=captured'"):
        first_deployment(str(file), {})
    found = written(tmp_path, file, **{"mapping.label": "captured", "known_at": "label+1d@13:00"})
    assert found.source.known_at == "label+1d@13:00"  # type: ignore[union-attr]


def _after(days: list[str], day: str) -> list[str]:
    return days[days.index(day) :][:3]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("mapping.sesion.format=%d", "there is no such key"),
        ("calendar=NYSE!", "no calendar has this code"),
        ("currency=DOLLARS", "no currency has this code"),
        ("start=1.5.2023", "write a day as YYYY-MM-DD"),
        ("start=2030-01-02", "lies after"),
        ("mapping.session.format=%Q", "%Q is not read here"),
        ("mapping.close=Nowhere", "Nowhere"),
        ("known_at=soon", "known_at"),
    ],
)
def test_an_answer_that_can_mean_nothing_is_refused(tmp_path: Path, answer: str, says: str) -> None:
    """In a sentence that names it."""
    file = prices(tmp_path / "p.csv", sessions(150), 2)
    with pytest.raises(ConfigurationError, match=says):
        first_deployment(str(file), pairs([answer]))


@pytest.mark.parametrize("wrong", ["calendar", "=XNYS", "calendar="])
def test_an_answer_is_a_key_and_a_value(wrong: str) -> None:
    """Nothing is taken for something else."""
    with pytest.raises(ConfigurationError, match="write KEY=VALUE"):
        pairs([wrong])


def test_a_file_without_names_of_columns_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Its first line is values."""
    (tmp_path / "p.csv").write_text("20230103 00:00,370,370,370,370,5\n20230104 00:00,371,372,370,371,5\n")
    with pytest.raises(CaptureUnreadable, match="the first line holds values"):
        first_deployment(str(tmp_path / "p.csv"), {})
