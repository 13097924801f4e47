"""A folder of daily drops `YYYYMMDD.tar.gz`, each with prices.csv, symbols.txt and reports.csv.

prices.csv holds raw OHLCV and adj_close of the last two sessions, symbols.txt every listed security as `symbol TAB
name`, reports.csv the companies' filings with the SEC, a column for each number. The drop's name is its last session;
the times of its members show when the crawl ran, and so when the filings were known.
"""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Annotated

import polars as pl
from msgspec import Meta

from quant_assets.errors import CaptureUnreadable, ContractViolation
from quant_assets.market_data.datasets import dataset
from quant_assets.ports import Clock
from quant_assets.records import Capture, Declared
from resources.sources.layouts.columns import Shape, Wide, shaped
from resources.sources.reading.opening import MAX_MEMBERS, MAX_RATIO, MIN_BUDGET
from resources.sources.reading.splitting import delimited
from resources.sources.rows import LISTINGS, MALFORMED, parse, typed
from resources.sources.seen import Seen

NAMED = ("prices.csv", "symbols.txt", "reports.csv")  # the members that are read
MAX_MEMBER_BYTES = 256 * 1024 * 1024  # the largest real one has 2 MB; a bomb does not fill the memory
SUFFIX = ".tar.gz"
AHEAD = timedelta(hours=1)  # that a vendor's clock may be
REPORTS = Shape(
    "filings",
    {
        "symbol": "symbol",
        "session": "end_date",
        "form": "doc_type",
        "fiscal_year": "fiscal_year",
        "fiscal_period": "period_focus",
        "amended": "amend",
    },
    Wide(name="item", value="value"),
)
NUMBERS = (
    "revenues,op_income,net_income,eps_basic,eps_diluted,dividend,assets,cur_assets,cur_liab,cash,equity,"
    "cash_flow_op,cash_flow_inv,cash_flow_fin"
)
REPORTS_HEADER = f"symbol,end_date,amend,period_focus,fiscal_year,doc_type,{NUMBERS}"


class Drops(Declared, frozen=True, kw_only=True, tag="vendor_drops"):
    """A folder of daily drops `YYYYMMDD.tar.gz`."""

    folder: Annotated[str, Meta(min_length=1, description="Where the drops lie, YYYYMMDD.tar.gz each.")]

    @property
    def currency(self) -> str:
        """In what its prices are."""
        return "USD"


class VendorDrops:
    """The MarketDataSource port on such a folder.

    It declares no actions; they are derived from raw against adjusted prices.
    """

    name = "vendor_drops"

    def __init__(self, folder: Path, seen: Seen | None = None, clock: Clock | None = None) -> None:
        self.folder = folder
        self._clock = clock
        self._files = seen or Seen()

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port. Files that are not named by a day are not drops."""
        found = (_label(path) for path in self.folder.glob(f"*{SUFFIX}"))
        return sorted(d for d in found if d and (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: the hash of each archive. Drops that are not there are left out."""
        paths = {label: self.folder / f"{label:%Y%m%d}{SUFFIX}" for label in labels}
        said = {label: self._files.sha256(path) for label, path in paths.items() if path.exists()}
        self._files.keep()
        return dict(said)

    def fetch(self, label: date) -> Capture:
        """See the port.

        Raises CaptureUnreadable where the archive is absent, broken, without prices.csv or too large.
        """
        path = self.folder / f"{label:%Y%m%d}{SUFFIX}"
        try:
            packed = path.read_bytes()
        except OSError as error:
            raise CaptureUnreadable(
                f"{path}: {error.strerror}; the folder has drops for {len(self.labels())} days"
            ) from error
        members, known_at = _members(packed, path)
        if self._clock and known_at > self._clock.now() + AHEAD:
            raise CaptureUnreadable(
                f"{path.name}: its members are from {known_at:%Y-%m-%d %H:%M} UTC, which is yet to come; set "
                "this machine's clock right, or have the drop packed again with its times"
            )
        prices, malformed = parse(members["prices.csv"], f"{path.name}/prices.csv")
        listings, broken = (
            _listings(members["symbols.txt"], f"{path.name}/symbols.txt")
            if "symbols.txt" in members
            else (None, malformed.clear())
        )
        filings, unread = _filings(members.get("reports.csv", ""), f"{path.name}/reports.csv")
        sha256 = hashlib.sha256(packed).hexdigest()
        return Capture(
            source=self.name,
            label=label,
            location=str(path),
            sha256=sha256,
            fingerprint=sha256,
            known_at=known_at,
            assumed=False,
            prices=prices,
            listings=listings,
            actions=None,
            malformed=pl.concat([malformed, broken, unread]),
            others={} if filings.is_empty() else {REPORTS.dataset: filings},
        )


def _label(path: Path) -> date | None:
    try:
        return datetime.strptime(path.name.removesuffix(SUFFIX), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _members(packed: bytes, path: Path) -> tuple[dict[str, str], datetime]:
    """The text of each regular member, read in memory, and the latest of their times, UTC."""
    texts: dict[str, str] = {}
    others: list[str] = []
    latest = 0
    budget = max(MIN_BUDGET, MAX_RATIO * len(packed))
    try:
        with tarfile.open(fileobj=BytesIO(packed), mode="r:gz") as archive:
            for n, member in enumerate(archive):
                if n >= MAX_MEMBERS or member.offset > budget:
                    raise CaptureUnreadable(
                        f"{path.name}: would unpack to more than {MAX_MEMBERS:,} members or {budget:,} bytes"
                    )
                content = archive.extractfile(member) if member.isfile() and _plain(member) in NAMED else None
                if content is None:
                    others.append(member.name)
                    continue
                if member.size > min(MAX_MEMBER_BYTES, budget):
                    raise CaptureUnreadable(
                        f"{path.name}: {member.name} has {member.size:,} bytes, the limit is {MAX_MEMBER_BYTES:,}"
                    )
                texts[_plain(member)] = content.read().decode("utf-8", errors="replace")
                latest = max(latest, int(member.mtime))
            ended = datetime.fromtimestamp(latest, UTC)
    except (
        tarfile.TarError,
        OSError,
        EOFError,
        ValueError,
        OverflowError,
    ) as error:  # gzip raises OSError or EOFError, zlib its own
        raise CaptureUnreadable(f"{path.name}: not a readable tar.gz ({error}); fetch the drop again") from error
    if "prices.csv" not in texts:
        raise CaptureUnreadable(f"{path.name}: no prices.csv among {sorted([*texts, *others])}")
    return texts, ended


def _plain(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _listings(text: str, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Symbols with their names, each pair once, and the lines that are none."""
    cells = pl.col("content").str.split("\t")
    rows = _lines(text).with_columns(
        cells.list.get(0).str.strip_chars().alias("symbol"),
        cells.list.get(1, null_on_oob=True).str.strip_chars().alias("name"),
        pl.lit(None, pl.String).alias("sector"),
        pl.lit(file).alias("file"),
    )
    good = (pl.col("symbol") != "") & pl.col("name").is_not_null() & (pl.col("name") != "")
    broken = (
        rows.filter(~good)
        .with_columns(pl.lit("not `symbol TAB name`").alias("reason"))
        .select("file", pl.col("line").cast(pl.Int64), "symbol", "reason", "content")
    )
    return typed(rows.filter(good).unique(["symbol", "name"], keep="first", maintain_order=True), LISTINGS), broken


def _filings(text: str, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of filings; a drop may lack the header.

    Where it has another one, every line is malformed: the prices beside it must not be lost.
    """
    none = pl.DataFrame(schema=MALFORMED)
    header = None if text.startswith("symbol") else REPORTS_HEADER.split(",")
    given = _lines(text)
    if given.height < (1 if header else 2):
        return pl.DataFrame(), none
    try:
        return shaped(
            pl.concat(delimited(StringIO(text), header), how="diagonal")
            .with_columns(pl.lit(file).alias("#file"))
            .lazy(),
            REPORTS,
            dataset(REPORTS.dataset),
        ).collect(), none
    except (ContractViolation, CaptureUnreadable) as error:
        reason = f"no filings: {str(error).partition('.')[0]}"
        return pl.DataFrame(), typed(
            given.slice(1).with_columns(file=pl.lit(file), symbol=pl.lit(None, pl.String), reason=pl.lit(reason)),
            MALFORMED,
        )


def _lines(text: str) -> pl.DataFrame:
    """Columns line (from 1) and content; without blank lines."""
    found = pl.DataFrame({"content": text.split("\n")}, schema={"content": pl.String}).with_row_index("line", offset=1)
    return found.with_columns(pl.col("line").cast(pl.Int64), pl.col("content").str.strip_chars_end("\r")).filter(
        pl.col("content").str.strip_chars() != ""
    )
