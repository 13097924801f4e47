"""Files of index membership: spells, change logs, full lists, and lists with a log.

`market_data.membership` turns them into events.
"""

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
import yaml

from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data import membership
from resources.sources.reading.opening import texts
from resources.sources.reading.sheets import sheet

PLACE = {"file": pl.col("#file"), "line": pl.col("#line"), "fault": pl.col("#fault"), "content": pl.col("#content")}
Frame = pl.DataFrame
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def spells(path: Path, root: Path, earlier: Sequence[Path]) -> Frame:
    """Events of `ticker,start_date,end_date`: half-open, for a name leaves before the session of its end date; without
    one it is still a member.
    """
    del earlier
    found = sheet(path, root).collect()
    start, until = (
        pl.col(c).str.strip_chars().str.to_date("%Y-%m-%d", strict=False) for c in ("start_date", "end_date")
    )
    unread = (pl.col("end_date").str.strip_chars() != "") & until.is_null()
    text = pl.concat_str([pl.col(c).fill_null("") for c in ("ticker", "start_date", "end_date")], separator=",")
    fault = pl.coalesce("#fault", pl.when(unread).then(pl.lit("end_date is no date YYYY-MM-DD")))
    rows = found.select(
        symbol=_symbol("ticker"),
        start=start,
        until=until,
        **PLACE | {"fault": fault, "content": pl.coalesce("#content", text)},
    )
    good = rows.filter(pl.col("fault").is_null())
    wrong = membership.spell_faults(good.drop("fault")).rename({"reason": "fault"})
    events = membership.spells(good.join(wrong, on=["file", "line"], how="anti").drop("fault", "content"), "")
    return _with_faults(events, [rows.filter(pl.col("fault").is_not_null()), wrong], "start")


def changes(path: Path, root: Path, earlier: Sequence[Path]) -> Frame:
    """Events of `date,add,remove`, with a symbol, several (`"CTVA,DD"`) or none in each of the two."""
    del earlier
    found = sheet(path, root).collect()
    day = pl.col("date").str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    text = pl.concat_str([pl.col(c).fill_null("") for c in ("date", "add", "remove")], separator=",")
    sides = [
        found.select(
            session=day,
            symbol=pl.col(c).str.split(","),
            member=pl.lit(c == "add"),
            **PLACE | {"content": pl.coalesce("#content", text)},
        )
        for c in ("add", "remove")
    ]
    sides = [
        s.explode("symbol", empty_as_null=True, keep_nulls=True).with_columns(symbol=_symbol("symbol")) for s in sides
    ]
    rows = pl.concat(s.filter(pl.col("symbol").is_not_null() | pl.col("fault").is_not_null()) for s in sides).unique(
        ["line", "symbol", "member"], maintain_order=True
    )
    good = rows.filter(pl.col("fault").is_null())
    wrong = membership.change_faults(good.drop("fault")).rename({"reason": "fault"})
    events = membership.changes(
        good.join(wrong, on=["file", "line", "symbol"], how="anti", nulls_equal=True).drop("fault", "content"), ""
    )
    return _with_faults(events, [rows.filter(pl.col("fault").is_not_null()), wrong], "session")


def lists(path: Path, root: Path, earlier: Sequence[Path]) -> Frame:
    """Events of the full lists `YYYY-MM.csv` with Symbol: the differences of this file's list from the lists before it.

    A list holds from the month's last day, because the day within the month is not given.
    """
    read = [_listed(file, root) for file in (*earlier, path)]
    good = pl.concat(r.filter(pl.col("fault").is_null()).drop("fault", "content") for r in read)
    events = membership.lists(good, "").filter(pl.col("session") == _month(path))
    return _with_faults(
        events.with_columns(file=pl.lit(path.relative_to(root).as_posix())),
        [read[-1].filter(pl.col("fault").is_not_null())],
        "session",
    )


def lists_and_changes(path: Path, root: Path, earlier: Sequence[Path]) -> Frame:
    """Events of YAML files of a year each: `tickers_on_Jan_1`, and `changes` by date with `union` and `difference`."""
    listed, logged = zip(*(_year(file, root) for file in (*earlier, path)), strict=True)
    whole, log = pl.concat(listed), pl.concat(logged)
    unread = log.filter(pl.col("session").is_null()).with_columns(fault=pl.lit("a change whose date is none"))
    log = log.filter(pl.col("session").is_not_null())
    wrong = (
        membership.change_faults(log.drop("content"))
        .rename({"reason": "fault"})
        .join(log.select("file", "line", "content"), on=["file", "line"], how="left")
    )
    log = log.join(wrong, on=["file", "line"], how="anti")
    events = membership.lists(whole.drop("content"), "", between=log.drop("content"))
    file = path.relative_to(root).as_posix()
    faults = [f.filter(pl.col("file") == file) for f in (unread, wrong)]
    return _with_faults(events.filter(pl.col("file") == file), faults, "session")


def _symbol(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)


def _month(path: Path) -> date:
    if not (found := _MONTH.search(path.name)):
        raise CaptureUnreadable(f"{path}: is not named by a month YYYY-MM")
    year, month = int(found[1]), int(found[2])
    return date(year, month, monthrange(year, month)[1])


def _listed(path: Path, root: Path) -> Frame:
    found = sheet(path, root).collect()
    if "Symbol" not in found.columns:
        raise CaptureUnreadable(
            f"{path}: has no column Symbol, but {[c for c in found.columns if not c.startswith('#')]}"
        )
    name = pl.col("Name") if "Name" in found.columns else pl.lit("")
    nobody = pl.coalesce("#fault", pl.when(_symbol("Symbol").is_null()).then(pl.lit("no symbol")))
    content = pl.coalesce(
        "#content", pl.concat_str([pl.col("Symbol").fill_null(""), name.fill_null("")], separator=",")
    )
    return found.select(
        session=pl.lit(_month(path)), symbol=_symbol("Symbol"), **PLACE | {"fault": nobody, "content": content}
    )


def _year(path: Path, root: Path) -> tuple[Frame, Frame]:
    """The list of 1 January and the changes of a year.

    Scalars are taken as they are written: `ON` is a company and no truth value.
    """
    try:
        document = yaml.compose("".join(text.stream.read() for text in texts(path)), Loader=yaml.SafeLoader)
        fields = {key.value: value for key, value in document.value}
        listed = [
            (date(int(fields["year"].value), 1, 1), node.value, node.start_mark.line + 1)
            for node in fields["tickers_on_Jan_1"].value
        ]
        changed = [
            (day.value, node.value, side.value == "union", node.start_mark.line + 1)
            for day, sides in (fields["changes"].value if "changes" in fields else ())
            for side, names in sides.value
            for node in names.value
        ]
    except (yaml.YAMLError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CaptureUnreadable(f"{path}: is no year of a list and its changes ({error})") from error
    place = {"file": pl.lit(path.relative_to(root).as_posix()), "content": pl.col("symbol")}
    whole = Frame(
        listed, schema={"session": pl.Date, "symbol": pl.String, "line": pl.Int64}, orient="row"
    ).with_columns(**place)
    log = Frame(
        changed, schema={"day": pl.String, "symbol": pl.String, "member": pl.Boolean, "line": pl.Int64}, orient="row"
    ).with_columns(**place)
    return whole, log.select(
        pl.col("day").str.to_date("%Y-%m-%d", strict=False).alias("session"),
        "symbol",
        "member",
        "line",
        "file",
        content=pl.concat_str("day", "symbol", separator=","),
    )


def _with_faults(events: Frame, faults: Sequence[Frame], day: str) -> Frame:
    """The events and the rows that are none, with the reason. An absence from a list has no line of its own: 0."""
    columns = [*(c for c in events.columns if c not in {"index", "fault", "content"}), "fault", "content"]
    said = [
        events.with_columns(
            fault=pl.lit(None, pl.String), content=pl.lit(None, pl.String), line=pl.col("line").fill_null(0)
        )
    ]
    for wrong in faults:
        known = wrong.rename({day: "session"}) if day != "session" else wrong
        said.append(
            known.with_columns(pl.lit(None, events.schema[c]).alias(c) for c in columns if c not in known.columns)
        )
    return pl.concat([f.select(columns) for f in said])
