"""The pages of one request, and the records in them: JSON or CSV, as JSON lines with every number as it was written."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Literal
from urllib.parse import quote, urljoin, urlsplit

from quant_assets.errors import CaptureUnreadable
from quant_assets.records import Frozen
from resources.sources.asking import origin
from resources.sources.reading.splitting import PLACE, delimited

MAX_PAGES = 10_000
Record = Mapping[str, object] | str  # an object, or a line that is none


class Answer(Frozen, frozen=True):
    """How a vendor's answers are made: JSON whose records are at a path, or CSV."""

    body: Literal["json", "csv"]
    records: str
    columns: tuple[str, ...]
    next: str
    page_size: int | None
    delimiter: str | None
    encoding: str

    def document(self, page: bytes) -> Any:
        """The page as it is read. Raises CaptureUnreadable."""
        try:
            text = page.decode("utf-8-sig" if self.encoding == "utf-8" else self.encoding)
            if self.body == "csv":
                return text
            # a number stays as it was written
            return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, LookupError, RecursionError) as error:
            raise CaptureUnreadable(
                f"the answer is no {self.body.upper()} ({type(error).__name__}); it begins with {page[:40]!r}"
            ) from None

    def rows(self, document: Any) -> list[Record]:
        """The records of a page: a list of objects, of lists (`columns` names their cells), or an object of columns of
        one length. Raises CaptureUnreadable where they are not there.
        """
        if self.body == "csv":
            return list(_lines(document, self.delimiter))
        found = self._at(document, self.records)
        if isinstance(found, dict):
            found = _rows_of_columns(found)
        if not isinstance(found, list):
            shown = sorted(document)[:20] if isinstance(document, dict) else type(document).__name__
            raise CaptureUnreadable(
                f"no list of records is at {self.records or 'the top'!r} of the answer, which has {shown}; "
                "declare `records`, or see what the vendor answers"
            )
        return [self._record(one) for one in found]

    def following(self, document: Any) -> str:
        """The link or the cursor of the next page; empty where this is the last."""
        found = self._at(document, self.next) if self.next and self.body == "json" else None
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""

    def _record(self, one: object) -> Record:
        if isinstance(one, dict):
            return one
        if isinstance(one, list) and self.columns and len(one) == len(self.columns):
            return dict(zip(self.columns, one, strict=True))
        return json.dumps(one)

    @staticmethod
    def _at(document: Any, path: str) -> Any:
        for name in filter(None, path.split(".")):
            document = document.get(name) if isinstance(document, dict) else None
        return document


def pages(
    template: str,
    values: Mapping[str, str],
    answer: Answer,
    first_page: int,
    ask: Callable[[str], bytes],
    kept: Sequence[bytes],
) -> Iterator[tuple[int, bytes, list[Record]]]:
    """Number, body and records of each page of a request; those in `kept` are not asked for again.

    Raises CaptureUnreadable where an answer is none, where pages repeat, or where the next one is on another host.
    """
    link, cursor, offset, before = "", "", 0, b""
    for number in range(MAX_PAGES):
        places = {"page": str(first_page + number), "offset": str(offset), "cursor": cursor}
        url = link or template.format_map({k: quote(v, safe="") for k, v in {**values, **places}.items()})
        page = kept[number] if number < len(kept) else ask(url)
        document = answer.document(page)
        rows = answer.rows(document)
        if page == before and rows:
            raise CaptureUnreadable(f"page {number + 1} repeats the one before; the vendor does not read its number")
        yield number, page, rows
        offset, before, then = offset + len(rows), page, answer.following(document)
        numbered = any(p in template for p in ("{page}", "{offset}"))
        if answer.next:
            if not then or then in (link, cursor):
                return
            onward = then.startswith(("http://", "https://", "/", "?"))
            link, cursor = (_linked(url, then), "") if onward else ("", then)
        elif not numbered or not rows or (answer.page_size is not None and len(rows) < answer.page_size):
            return
    raise CaptureUnreadable(f"more than {MAX_PAGES:,} pages; ask for a shorter span (`every`)")


def _linked(url: str, link: str) -> str:
    there = urljoin(url, link)
    if origin(urlsplit(there)) != origin(urlsplit(url)):
        raise CaptureUnreadable(f"the next page is on another host, {urlsplit(there).hostname}: not followed")
    return there


def _rows_of_columns(found: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    columns = {k: v for k, v in found.items() if isinstance(v, list)}
    if not columns or len({len(v) for v in columns.values()}) > 1:
        return None
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _lines(text: str, delimiter: str | None) -> Iterator[Record]:
    for frame in delimited(StringIO(text), None, delimiter):
        for row in frame.iter_rows(named=True):
            if row["#fault"] is None:
                yield {k: v for k, v in row.items() if k not in PLACE}
            else:
                yield str(row["#content"])
