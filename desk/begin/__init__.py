"""The first deployment of files of one's own: what the files decide is written, what they do not decide is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from desk.begin.answers import refuse_unknown, source_answers
from desk.begin.fitting import Fit, fitting
from desk.begin.repeated import delivered
from desk.begin.sizing import Sizes, sizes
from desk.begin.writing import text
from quant_assets.calendars import calendar
from quant_assets.errors import ConfigurationError
from quant_assets.records import Frozen
from resources.sources.preview import Preview, Question, examined

ALL = 1_000_000_000  # rows: all of them


class Draft(Frozen, frozen=True):
    """A deployment for files of prices: its text, what was found in them, and what it was fitted to."""

    text: str
    preview: Preview
    fit: Fit
    sizes: Sizes


class Undecided(ConfigurationError):
    """What the files do not decide, each with the options that answer it."""

    def __init__(self, where: str, questions: Sequence[Question]) -> None:
        self.questions = tuple(questions)
        lines = [line for q in questions for line in (f"  {q.text}", *(f"    {o}" for o in _options(q)))]
        super().__init__(f"{where} does not decide the following; give an option for each:\n" + "\n".join(lines))


def _options(question: Question) -> list[str]:
    return [f"--set '{question.key}={choice}'" for choice in question.choices or ("…",)]


def first_deployment(where: str, answers: Mapping[str, str]) -> Draft:
    """The deployment of a file, a folder or a glob of daily prices. `answers`: by key, such as mapping.session.format.

    Nothing is written. Raises Undecided where the files leave something open, ConfigurationError where an answer
    is no key or nothing can be kept, CaptureUnreadable where a file cannot be read.
    """
    refuse_unknown(answers)
    given = source_answers(answers)
    code = answers.get("calendar", "XNYS")
    found, rows = _looked(where, code, given)
    fit = fitting(_days(rows), answers.get("calendar"))
    if fit.code != code:
        found, rows = _looked(where, fit.code, given)  # days of a zone are read on the calendar's own clock
    found_sizes = sizes(_kept(rows), fit, answers)
    return Draft(text(found, fit, found_sizes), found, fit, found_sizes)


def _looked(where: str, code: str, given: Mapping[str, Any]) -> tuple[Preview, pl.DataFrame]:
    """The preview and the rows under a calendar. Raises Undecided, and ConfigurationError where no row is kept."""
    found, rows = examined(where, calendar(code), given, ALL)
    if found.questions:
        raise Undecided(where, found.questions)
    if not found.kept:
        why = "; ".join(
            [*(f"{r.rows:,} rows: {r.reason}, first at {r.first}" for r in found.refused), *found.ambiguous]
        )
        raise ConfigurationError(f"{where}: no row of it could be kept ({why}); declare how it is written by --set")
    kept = _kept(rows)
    asked = None if "label" in given.get("mapping", {}) else delivered(Path(found.files[0]), kept)
    if any("bars within the day" in note for note in found.ambiguous) and not (asked and asked.choices):
        raise ConfigurationError(
            f"{where}: a name has many rows a day. These are bars within the day, which are a feed (kind: tabular, "
            "dataset: intraday_bars) beside daily prices; begin with a file of one row a day"
        )
    if asked:
        raise Undecided(where, [asked])
    return found, rows


def _kept(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("reason").is_null())


def _days(rows: pl.DataFrame) -> pl.Series:
    return _kept(rows)["session"].unique().sort()
