"""What a deployment declares of a vendor that is asked over HTTP; `http_vendor` asks it."""

from collections.abc import Mapping
from datetime import date
from string import Formatter
from typing import Annotated, Any, Literal

from msgspec import Meta

from quant_assets.records import Currency, Declared, Name
from quant_assets.tables import BARS
from resources.sources.asking import NoAnswer, safe
from resources.sources.paging import Answer
from resources.sources.reading.written import Character, Column

PLACES = {"symbol", "first", "last", "until", "page", "offset", "cursor", "key"}


class HttpFeed(Declared, frozen=True, kw_only=True, tag="http"):
    """A vendor over HTTP: where it is asked, for what, how its pages follow, and what its columns mean.

    Raises ValueError for an address that cannot be asked, or a key that would not be sent.
    """

    name: Annotated[Name, Meta(description="What the source is called; its answers are kept under it.")]
    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="https (http on this machine). Filled in: {symbol}, {first} and {last} (days of the span), "
            "{until} (the day after), {page}, {offset}, {cursor}, {key}.",
        ),
    ]
    first: Annotated[date, Meta(description="The first day wanted.")]
    mapping: Annotated[Mapping[str, str | Column], Meta(description="The vendor's column by ours.")] = {}
    dataset: Annotated[str, Meta(description="Of which dataset its rows are.")] = BARS.name
    symbols: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="For each of which {symbol} is asked; their rows get it where they name none."),
    ] = ()
    every: Annotated[
        Literal["day", "month", "year"], Meta(description="The span of a request; of bars that of history alone.")
    ] = "day"
    days: Annotated[str, Meta(min_length=1, description="How days are written in the address: %Y-%m-%d, or s, ms.")] = (
        "%Y-%m-%d"
    )
    body: Annotated[Literal["json", "csv"], Meta(description="What is answered.")] = "json"
    records: Annotated[str, Meta(description="Where in the JSON the list of records is: data.bars.")] = ""
    columns: Annotated[tuple[str, ...], Meta(description="The names of the cells, where a record is a list.")] = ()
    next: Annotated[str, Meta(description="Where in the JSON the link to the next page is, or its {cursor}.")] = ""
    first_page: Annotated[int, Meta(ge=0, le=1, description="The number of the first page.")] = 1
    page_size: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="Records of a full page: one with fewer is the last. Without it an empty one is."),
    ] = None
    constants: Annotated[Mapping[str, Any], Meta(description="What holds for every row of a dataset.")] = {}
    known_at: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^(event|label|close)\+\d+[dhm](@([01]\d|2[0-3]):[0-5]\d)?$",
                extra={"write": "a rule like close+1h, label+1d@13:00 or event+1d (UTC)"},
            ),
        ]
        | None,
        Meta(description="When a row could first be known; of bars close+1h without it."),
    ] = None
    may_be_empty: Annotated[bool, Meta(description="Whether a span may have no record; bars always have some.")] = False
    key_env: Annotated[
        Annotated[
            str,
            Meta(
                pattern="^[A-Z][A-Z0-9_]{0,63}$(?!\\n)", extra={"write": "the name of a variable, as in MYVENDOR_KEY"}
            ),
        ]
        | None,
        Meta(description="The variable of the environment that holds the vendor's key."),
    ] = None
    key_header: Annotated[str, Meta(description="The header that carries the key.")] = ""
    key_prefix: Annotated[str, Meta(description="What is before the key in the header: 'Bearer '.")] = ""
    key_query: Annotated[str, Meta(description="The parameter of the address that carries the key.")] = ""
    per_minute: Annotated[float, Meta(gt=0, le=60_000, description="Requests a minute at the most.")] = 60.0
    timeout: Annotated[float, Meta(gt=0, le=3600, description="Seconds for one answer.")] = 60.0
    attempts: Annotated[int, Meta(ge=1, le=20, description="How often a request is made before it is given up.")] = 6
    max_bytes: Annotated[int, Meta(ge=1_000, description="Of the answers of one delivery.")] = 256 * 2**20
    tz: Annotated[str | None, Meta(description="On whose clock days and times are written: an IANA name.")] = None
    decimal: Annotated[Literal[".", ","] | None, Meta(description="What is before a number's fraction.")] = None
    delimiter: Annotated[Character | None, Meta(description="Between the cells of CSV.")] = None
    encoding: Annotated[str, Meta(min_length=1, description="How a text is written.")] = "utf-8"
    currency: Annotated[Currency, Meta(description="In what its prices are.")] = "USD"

    def __post_init__(self) -> None:
        """See the class."""
        try:
            named = {name for _, name, _, _ in Formatter().parse(self.url) if name is not None}
            safe(self.url)
        except (ValueError, NoAnswer) as error:
            raise ValueError(f"url: {error}; write https://host/path?symbol={{symbol}}") from error
        if strange := sorted(named - PLACES):
            raise ValueError(f"url: nothing fills in {', '.join(strange)}; there are {', '.join(sorted(PLACES))}")
        if ("symbol" in named) != bool(self.symbols):
            raise ValueError("url with {symbol} and symbols belong together: name the symbols, or leave both out")
        ways = (bool(self.key_header), bool(self.key_query), "key" in named)
        if sum(ways) != (1 if self.key_env else 0):
            raise ValueError("a key has key_env, and one way to be sent: key_header, key_query or {key} in the url")
        if not {"first", "last", "until"} & named:
            raise ValueError("url names no day: without {first} or {last} nothing shows which span is answered")
        if "cursor" in named and not self.next:
            raise ValueError("url with {cursor} needs `next`, where the answer has it")

    @property
    def answer(self) -> Answer:
        """How its answers are made."""
        return Answer(self.body, self.records, self.columns, self.next, self.page_size, self.delimiter, self.encoding)
