"""Days and times, read as they are declared, or if they can mean only one thing.

Unambiguous is a day with its year first (2024-01-05), such a day with a time and an offset from UTC, a Parquet date,
and a Parquet time with a zone. A day is the one on the vendor's own clock: that of the zone or offset in which it is
written. A time in UTC or without zone has no such day, unless it is midnight or `tz` is declared; a time without zone
is no moment. A value outside a plausible span was read in the wrong format.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import ConfigurationError
from resources.sources.reading.written import Column, pattern

FIRST_DAY = date(1800, 1, 1)  # series that go further back are history books
FIRST_TIME = datetime(1971, 1, 1, tzinfo=UTC)  # seconds read as milliseconds lie in January 1970
AHEAD = timedelta(days=366)  # of what is announced

Read = Callable[[pl.Series], pl.Series]  # a struct: value, and why there is none
_ISO = (
    r"^(?P<Y>\d{4})([-/.])(?P<m>\d{1,2})([-/.])(?P<d>\d{1,2})"
    r"(?:(?:T|t|\s+)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?P<z>[Zz]|[+-]\d{2}(?::?\d{2})?)?(?:\s*(?P<Z>[A-Za-z]{2,5}))?)?$"
)
_GROUPS = ("Y", "y", "m", "b", "d", "j", "H", "I", "M", "S", "f", "p", "z", "Z", "s")
_MONTHS = {
    m: n for n, m in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY = 86_400_000_000  # microseconds
_SPREADSHEET = date(1899, 12, 30)  # day 0 of Excel's serial numbers, for days from 1900-03-01 on
_UTC_NAMES = ("UTC", "GMT", "UT", "Z")
_FARTHEST = 250_000 * _DAY  # of a moment from 1970 that is looked at; no arithmetic wraps there


def days(field: str, held: pl.DataType, column: Column) -> Read:
    """Reads a column of type `held` as days.

    Raises ConfigurationError if such a column, as declared, has no days.
    """
    if held == pl.Date:
        return lambda s: _judged(s, s.is_not_null(), field, _in_span(s), "")
    local = _local(field, held, column, "days")

    def read(s: pl.Series) -> pl.Series:
        quick = _iso_days(s) if s.dtype == pl.String and not (column.format or column.unit) else None
        if quick is not None and not quick.null_count():
            return _judged(quick, s.is_not_null(), field, _end_of_month(_in_span(quick), column), "")
        at = local(s)
        clear = pl.col("local").dt.truncate("1d") == pl.col("local")
        if column.tz:
            there = (pl.col("local") - pl.col("offset")).dt.replace_time_zone("UTC").dt.convert_time_zone(column.tz)
            day = pl.coalesce(there.dt.date(), pl.col("local").dt.date())
        else:
            told = clear | (pl.col("stated") & pl.col("offset").is_not_null())
            day = pl.when(told).then(pl.col("local").dt.date())
        found = at.select(day=day, late=pl.col("local").is_not_null() & day.is_null())
        within = _end_of_month(_in_span(found["day"]), column)
        vague = f"{field} is a time whose day depends on the zone: declare tz"
        return _judged(found["day"], given(s), field, within, "date YYYY-MM-DD", column, s, (found["late"], vague))

    return read


def moments(field: str, held: pl.DataType, column: Column) -> Read:
    """Reads a column of type `held` as moments in UTC, microseconds.

    Raises ConfigurationError as `days` does, and where a Parquet time has no zone and none is declared.
    """
    naive = held == pl.Date or (isinstance(held, pl.Datetime) and held.time_zone is None) or column.unit == "excel"
    if naive and column.tz is None:
        raise ConfigurationError(
            f"column {column.column!r} for {field} holds times without a zone ({held}): declare its tz, "
            f"such as {field}: {{column: {column.column}, tz: America/New_York}}"
        )
    local = _local(field, held, column, "times")

    def read(s: pl.Series) -> pl.Series:
        at = local(s)
        known = (pl.col("local") - pl.col("offset")).dt.replace_time_zone("UTC")
        if column.tz:
            there = pl.col("local").dt.replace_time_zone(column.tz, ambiguous="null", non_existent="null")
            known = pl.coalesce(known, there.dt.convert_time_zone("UTC"))
        found = at.select(at=known.cast(UTC_MICROS), late=pl.col("local").is_not_null() & known.is_null())
        within = found["at"].is_between(FIRST_TIME, datetime.now(UTC) + AHEAD)
        vague = (
            f"{field} is a time that the clocks of {column.tz} show twice or never, or names another zone"
            if column.tz
            else f"{field} is a time without a zone: declare tz"
        )
        value = only(found["at"], within)
        return _judged(
            found["at"],
            given(s),
            field,
            value,
            "time YYYY-MM-DD HH:MM with an offset",
            column,
            s,
            (found["late"], vague),
        )

    return read


def only(s: pl.Series, mask: pl.Series) -> pl.Series:
    """The cells of which the mask is true; null elsewhere."""
    return pl.select(pl.when(mask).then(s).alias(s.name)).to_series()


def given(s: pl.Series) -> pl.Series:
    """Whether a cell has content."""
    return (s.is_not_null() & (s.str.strip_chars() != "")) if s.dtype == pl.String else s.is_not_null()


def _in_span(day: pl.Series) -> pl.Series:
    """The days; null where they are not plausible."""
    return only(day, day.is_between(FIRST_DAY, datetime.now(UTC).date() + AHEAD))


def _end_of_month(day: pl.Series, column: Column) -> pl.Series:
    return day.dt.month_end() if column.month_end else day


def _judged(
    found: pl.Series,
    given: pl.Series,
    field: str,
    value: pl.Series,
    wanted: str,
    column: Column | None = None,
    said: pl.Series | None = None,
    late: tuple[pl.Series, str] | None = None,
) -> pl.Series:
    """The struct of values and reasons; there is a reason if a cell has content and no value could be read."""
    frame = pl.DataFrame({"value": value, "found": found, "given": given})
    if frame.select((pl.col("value").is_null() & pl.col("given")).any()).item():
        text = said.cast(pl.String) if said is not None else found.cast(pl.String)
        vague, reason = late or (pl.repeat(value=False, n=found.len(), eager=True), "")
        frame = frame.with_columns(text=text.str.strip_chars(), vague=vague)
        cases = pl.when(pl.col("value").is_not_null() | ~pl.col("given")).then(None)
        cases = cases.when("vague").then(pl.lit(reason))
        far = pl.format(f"{field} {{}} lies outside {FIRST_DAY:%Y} to a year from now", pl.col("found").cast(pl.String))
        cases = cases.when(pl.col("found").is_not_null()).then(far)
        cases = cases.otherwise(_unread(field, wanted, column))
        return frame.select(pl.struct("value", why=cases)).to_series()
    return frame.select(pl.struct("value", why=pl.lit(None, pl.String))).to_series()


def _unread(field: str, wanted: str, column: Column | None) -> pl.Expr:
    """Why a text could not be read, and what to declare."""
    if column is not None and column.format:
        return pl.lit(f"{field} is not written as {column.format}")
    text = pl.col("text")
    slashed = text.str.contains(r"^\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})\b")
    return (
        pl.when(text.str.contains(r"^\d+(\.\d+)?$"))
        .then(pl.lit(f"{field} is not a {wanted}: a number tells no day; declare its format or unit"))
        .when(slashed)
        .then(pl.lit(f"{field} is not a {wanted}: day or month may come first; declare its format"))
        .otherwise(pl.lit(f"{field} is not a {wanted}"))
    )


def _iso_days(s: pl.Series) -> pl.Series:
    """Days written YYYY-MM-DD; null where a cell is anything else."""
    cells = s.str.strip_chars()
    plain = only(cells, (cells.str.len_bytes() == 10) & (cells.str.slice(4, 1) == "-"))
    return plain.str.to_date("%Y-%m-%d", strict=False)


def _local(field: str, held: pl.DataType, column: Column, what: str) -> Callable[[pl.Series], pl.DataFrame]:
    """Reads a column as it is written: local (the time on its wall clock), offset (from UTC, null if there is none),
    stated (whether that is a zone and not UTC itself).
    """
    numeric = held.is_integer() or held.is_float() or isinstance(held, pl.Decimal)
    text = isinstance(held, (pl.String, pl.Categorical, pl.Enum))
    if isinstance(held, pl.Datetime):
        return _read_datetimes
    if held == pl.Date:
        return lambda s: pl.DataFrame({"local": s.cast(pl.Datetime("us"))}).with_columns(
            offset=_NO_OFFSET, stated=False
        )
    if held == pl.Null:
        return lambda s: pl.DataFrame({"local": pl.Series([None] * s.len(), dtype=pl.Datetime("us"))}).with_columns(
            offset=_NO_OFFSET, stated=False
        )
    if (numeric or text) and column.unit:
        return lambda s: _counted(s, column.unit or "")
    if text:
        return lambda s: _read_text(s.cast(pl.String), column)
    if numeric and column.format:
        return lambda s: _read_text(_digits(s), column)
    declare = (
        f"{{column: {column.column}, format: '%Y%m%d'}} or {{column: {column.column}, unit: s}} (s, ms, us, ns, "
        f"d or excel)"
    )
    raise ConfigurationError(
        f"column {column.column!r} for {field} holds {held}, which tells no {what}: "
        + (f"declare how they are written, such as {field}: {declare}" if numeric else "map a column of dates or text")
    )


_NO_OFFSET = pl.lit(None, pl.Duration("us"))


def _digits(s: pl.Series) -> pl.Series:
    """Whole numbers as text; null where they are not whole."""
    whole = s.cast(pl.Int64, strict=False)
    return only(whole, whole.cast(pl.Float64) == s.cast(pl.Float64, strict=False)).cast(pl.String)


def _read_datetimes(s: pl.Series) -> pl.DataFrame:
    """A Parquet column of times, with zone or without."""
    zone = s.dtype.time_zone if isinstance(s.dtype, pl.Datetime) else None
    micros = s.cast(pl.Datetime("us", zone), strict=False)
    micros = only(micros, micros.to_physical().is_between(-_FARTHEST, _FARTHEST))
    local = micros.dt.replace_time_zone(None)
    if zone is None:
        return pl.DataFrame({"local": local}).with_columns(offset=_NO_OFFSET, stated=False)
    utc = micros.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    frame = pl.DataFrame({"local": local, "utc": utc})
    return frame.select(
        "local",
        offset=(pl.col("local") - pl.col("utc")).cast(pl.Duration("us")),
        stated=pl.lit(zone not in {"UTC", "Etc/UTC", "GMT", "Zulu"}),
    )


def _counted(s: pl.Series, unit: str) -> pl.DataFrame:
    """Numbers that count from a day on."""
    number = pl.DataFrame({"n": s.cast(pl.Float64, strict=False), "i": s.cast(pl.Int64, strict=False)})
    if unit in {"d", "excel"}:
        start = 0 if unit == "d" else (_SPREADSHEET - date(1970, 1, 1)).days
        micros = ((pl.col("n") + start) * 86_400).round() * 1e6  # no spreadsheet keeps more than seconds
    else:
        per = _PER_SECOND[unit]
        whole = pl.col("i").cast(pl.Float64) == pl.col("n")
        exact = pl.col("i") * (1_000_000 // per) if per <= 1_000_000 else pl.col("i") // (per // 1_000_000)
        sane = pl.col("n").abs() <= _FARTHEST / 1e6 * per
        micros = pl.when(whole & sane).then(exact).otherwise((pl.col("n") / per * 1e6).round())
    near = pl.when(micros.cast(pl.Float64).abs() <= _FARTHEST).then(micros)
    offset = _NO_OFFSET if unit in {"d", "excel"} else pl.lit(timedelta(0), pl.Duration("us"))
    return number.select(
        local=near.cast(pl.Int64, strict=False).cast(pl.Datetime("us")), offset=offset, stated=pl.lit(value=False)
    )


def _read_text(s: pl.Series, column: Column) -> pl.DataFrame:
    """Text under the declared format, or with its year first."""
    regex, utc = (pattern(column.format).regex, pattern(column.format).utc) if column.format else (_ISO, False)
    parts = (
        pl.DataFrame({"t": s.str.strip_chars()}).select(pl.col("t").str.extract_groups(regex).alias("p")).unnest("p")
    )
    parts = parts.with_columns(pl.lit(None, pl.String).alias(g) for g in _GROUPS if g not in parts.columns)
    if "(?P<s>" in regex:
        return _counted(parts["s"], "s")
    hour = pl.col("H").cast(pl.Int32)
    half = pl.col("I").cast(pl.Int32)
    afternoon = pl.col("p").str.to_lowercase().str.starts_with("p")
    half = (
        pl.when(half.is_between(1, 12))
        .then(half % 12 + 12 * afternoon.cast(pl.Int32))
        .otherwise(pl.when(half.is_not_null()).then(99))
    )
    short = pl.col("y").cast(pl.Int32)
    year = pl.coalesce(pl.col("Y").cast(pl.Int32), short + pl.when(short < 69).then(2000).otherwise(1900))
    named = pl.col("b").str.slice(0, 3).str.to_lowercase().replace_strict(_MONTHS, default=None, return_dtype=pl.Int32)
    month = pl.coalesce(pl.col("m").cast(pl.Int32), named)
    clock = (
        pl.coalesce(hour, half).fill_null(0),
        pl.col("M").cast(pl.Int32).fill_null(0),
        pl.col("S").cast(pl.Int32).fill_null(0),
    )
    two = [c.cast(pl.String).str.zfill(2) for c in clock]
    by_number = pl.col("j").is_not_null()
    day = pl.when(by_number).then(pl.lit("01")).otherwise(pl.coalesce(pl.col("d"), pl.lit("01")).str.zfill(2))
    month_text = pl.when(by_number).then(pl.lit("01")).otherwise(month.cast(pl.String).str.zfill(2))
    text = pl.format(
        "{}-{}-{} {}:{}:{}.{}",
        year.cast(pl.String).str.zfill(4),
        month_text,
        day,
        *two,
        pl.col("f").str.slice(0, 6).fill_null("0").str.pad_end(6, "0"),
    )
    local = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.6f", time_unit="us", strict=False)
    nth = pl.col("j").cast(pl.Int64)
    local = (
        pl.when(by_number)
        .then(pl.when(nth.is_between(1, 366)).then(local + pl.duration(days=nth - 1)))
        .otherwise(local)
    )
    sign = pl.when(pl.col("z").str.starts_with("-")).then(-1).otherwise(1)
    digits = pl.col("z").str.replace_all(r"[^0-9]", "")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(
        pl.Int64, strict=False
    ).fill_null(0)
    offset = pl.when(pl.col("z").str.to_lowercase() == "z").then(0).otherwise(sign * minutes)
    by_name = pl.when(pl.col("Z").str.to_uppercase().is_in(_UTC_NAMES)).then(0)
    offset = pl.coalesce(offset, by_name, pl.lit(0 if utc else None, pl.Int64))
    frame = parts.select(local=local, minutes=offset, name=pl.when(by_name.is_null()).then("Z"))
    frame = frame.with_columns(offset=pl.duration(minutes="minutes", time_unit="us"), stated=pl.col("minutes") != 0)
    frame = _named_zones(frame, column.tz) if frame["name"].null_count() < frame.height else frame
    return frame.select("local", "offset", stated=pl.col("stated").fill_null(value=False))


def _named_zones(frame: pl.DataFrame, tz: str | None) -> pl.DataFrame:
    """Offsets of times that name a zone (EST): the declared zone's at that moment, if it goes by that name; a time with
    any other name is none.
    """
    named = pl.col("name").is_not_null()
    if tz is None:
        return frame.with_columns(local=pl.when(~named).then("local"))
    for side in ("earliest", "latest"):
        # one of the literals it takes
        there = pl.col("local").dt.replace_time_zone(tz, ambiguous=side, non_existent="null")  # pyright: ignore[reportArgumentType]
        same = named & pl.col("offset").is_null() & (there.dt.to_string("%Z") == pl.col("name").str.to_uppercase())
        off = (pl.col("local") - there.dt.convert_time_zone("UTC").dt.replace_time_zone(None)).cast(pl.Duration("us"))
        frame = frame.with_columns(
            offset=pl.when(same).then(off).otherwise("offset"),
            stated=pl.col("stated").fill_null(value=False) | same.fill_null(value=False),
        )
    return frame.with_columns(local=pl.when(~named | pl.col("offset").is_not_null()).then("local"))
