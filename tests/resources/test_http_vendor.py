"""A vendor over HTTP: pages, keys, limits, and everything that it may answer instead of rows."""

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from quant_assets.errors import CaptureUnreadable, ConfigurationError
from resources.sources.asking import Asking, Key
from resources.sources.http_feed import HttpFeed
from resources.sources.open import declared
from resources.sources.plan import Planned
from resources.sources.retry import Pause, Retry
from tests.stubs.http_vendor import BARS, SESSIONS, Asked, Reply, bar, between, opened, paged

PAGED = "/bars?from={first}&to={last}&page={page}"
PLAIN = "/bars?from={first}&to={last}"
ROWS = [bar(s, d, 10.0 + n) for n, d in enumerate(SESSIONS) for s in ("AA", "BB", "CC")]
SECRET = "s3cr3t/k=y"  # noqa: S105  # of a stub


def whole(asked: Asked) -> Reply:
    """All rows of the span on one page."""
    return Reply({"data": {"bars": between(asked, ROWS)}})


def closes(source: Any, label: date) -> dict[str, float]:
    """The closes of a delivery."""
    return dict(source.fetch(label).prices.select("symbol", "close").rows())


def cursors(asked: Asked) -> Reply:
    """Two rows a page, with the place of the next one."""
    found, at = between(asked, ROWS), int(asked.query.get("cursor", 0))
    return Reply({"data": {"bars": found[at : at + 2]}, "next": at + 2 if at + 2 < len(found) else None})


def offsets(asked: Asked) -> Reply:
    """Two rows a page, from an offset."""
    at = int(asked.query["offset"])
    return Reply({"data": {"bars": between(asked, ROWS)[at : at + 2]}})


def columned(asked: Asked) -> Reply:
    """An object of columns."""
    found = between(asked, ROWS)
    return Reply({"data": {"bars": {k: [r[k] for r in found] for k in found[0]}}})


def listed(asked: Asked) -> Reply:
    """Lists of cells."""
    return Reply({"data": {"bars": [list(r.values()) for r in between(asked, ROWS)]}})


def as_csv(asked: Asked) -> Reply:
    """A packed CSV."""
    lines = ["ticker,t,o,h,l,c,v", *(",".join(map(str, r.values())) for r in between(asked, ROWS))]
    return Reply(gzip.compress("\n".join(lines).encode()), headers={"Content-Type": "text/csv"})


@pytest.mark.parametrize(
    ("answer", "path", "more", "requests"),
    [
        (whole, PLAIN, {}, 1),
        (paged(ROWS, 2), PAGED, {"page_size": 2}, 2),
        (paged(ROWS, 3), PAGED, {"page_size": None}, 2),
        (cursors, PLAIN + "&cursor={cursor}", {"next": "next"}, 2),
        (offsets, PLAIN + "&offset={offset}", {"page_size": 2}, 2),
        (columned, PLAIN, {}, 1),
        (listed, PLAIN, {"columns": ["ticker", "t", "o", "h", "l", "c", "v"]}, 1),
        (as_csv, PLAIN, {"body": "csv", "records": ""}, 1),
    ],
)
def test_every_kind_of_pages_gives_the_same_bars(
    tmp_path: Path, answer: Callable[[Asked], Reply], path: str, more: dict[str, Any], requests: int
) -> None:
    """By number, by cursor, by offset, in columns, in lists, as packed CSV: three names, whole; and again from what is
    kept, without a request.
    """
    with opened(tmp_path, answer, path, **{**BARS, "page_size": None, **more}) as (source, vendor):
        assert closes(source, SESSIONS[1]) == {"AA": 11.0, "BB": 11.0, "CC": 11.0}
        assert len(vendor.asked) == requests
        assert closes(source, SESSIONS[1]) == {"AA": 11.0, "BB": 11.0, "CC": 11.0}
        assert len(vendor.asked) == requests


def test_history_is_asked_by_the_month_and_today_by_the_day(tmp_path: Path) -> None:
    """A span that is over is one request for all its sessions; of the month that runs each session is one."""
    rows = [bar("AA", d, 5.0) for d in (date(2024, 4, 29), date(2024, 4, 30), *SESSIONS)]

    def answer(asked: Asked) -> Reply:
        return Reply({"data": {"bars": between(asked, rows)}})

    wanted = {**BARS, "first": date(2024, 4, 29), "every": "month", "page_size": None}
    with opened(tmp_path, answer, PLAIN, **wanted) as (source, vendor):
        for label in source.labels():
            assert closes(source, label) == {"AA": 5.0}
    spans = [(a.query["from"], a.query["to"]) for a in vendor.asked]
    assert spans == [("2024-04-29", "2024-04-30"), *((str(d), str(d)) for d in SESSIONS)]


def test_symbols_are_asked_one_by_one(tmp_path: Path) -> None:
    """{symbol} is filled in, quoted, and is the symbol of rows that have none; a key is sent where it is declared."""

    def answer(asked: Asked) -> Reply:
        found = [r for r in between(asked, ROWS) if r["ticker"] == asked.query["symbol"].replace("/", "")]
        return Reply({"data": {"bars": [{k: v for k, v in r.items() if k != "ticker"} for r in found]}})

    mapping = {k: v for k, v in BARS["mapping"].items() if k != "symbol"}
    wanted = {**BARS, "symbols": ("A/A", "BB"), "mapping": mapping, "page_size": None}
    with opened(tmp_path, answer, PLAIN + "&symbol={symbol}", **wanted) as (source, vendor):
        assert closes(source, SESSIONS[0]) == {"A/A": 10.0, "BB": 10.0}
        assert [a.query["symbol"] for a in vendor.asked] == ["A/A", "BB"]


@pytest.mark.parametrize(
    ("path", "more", "seen"),
    [
        (PLAIN, {"key_header": "Authorization", "key_prefix": "Bearer "}, ("Authorization", f"Bearer {SECRET}")),
        (PLAIN, {"key_query": "apikey"}, ("apikey", SECRET)),
        (PLAIN + "&token={key}", {}, ("token", SECRET)),
    ],
)
def test_a_key_goes_to_the_vendor_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, str], seen: tuple[str, str]
) -> None:
    """It is sent as declared; it is in no message, no location and no file, though the vendor repeats it."""
    monkeypatch.setenv("MYVENDOR_KEY", SECRET)

    def answer(asked: Asked) -> Reply:
        if asked.query["from"] > str(SESSIONS[0]):
            return Reply("no", status=403)
        return Reply({"data": {"bars": between(asked, ROWS)}, "echo": SECRET})

    with opened(tmp_path, answer, path, **{**BARS, "page_size": None, "key_env": "MYVENDOR_KEY", **more}) as (
        source,
        vendor,
    ):
        capture = source.fetch(SESSIONS[0])
        assert {**vendor.asked[0].query, **vendor.asked[0].headers}[seen[0]] == seen[1]
        with pytest.raises(CaptureUnreadable) as caught:
            source.fetch(SESSIONS[1])
    assert SECRET not in capture.location + str(caught.value) + repr(caught.value.__cause__)
    assert "s3cr3t" not in str(caught.value)
    for path_ in tmp_path.rglob("*"):
        assert path_.is_dir() or SECRET.encode() not in path_.read_bytes()
    kept = pl.concat(pl.read_parquet(p) for p in tmp_path.rglob("*.parquet"))
    assert SECRET.encode() not in b"".join(kept["body"])


def test_a_key_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked, and the message names the variable."""
    monkeypatch.delenv("MYVENDOR_KEY", raising=False)
    wanted = {**BARS, "key_env": "MYVENDOR_KEY", "key_query": "k"}
    with opened(tmp_path, whole, PLAIN, **wanted) as (source, vendor):
        with pytest.raises(ConfigurationError, match="MYVENDOR_KEY"):
            source.fetch(SESSIONS[0])
        assert vendor.asked == []


BAD = json.dumps({"data": {"bars": []}})
WRONG = [
    ("<!DOCTYPE html><p>Log in</p>", {}, "answered with a page", 1),
    (BAD, {"Content-Type": "text/html"}, "answered with a page", 1),
    ("", {}, "the answer is empty", 3),
    (BAD, {}, "an empty answer is no empty span", 1),
    ('{"data": {"ba', {}, "the answer is no JSON", 1),
    (BAD, {"Content-Length": "500"}, "cut off after", 3),
    (json.dumps({"error": "no such symbol"}), {}, "no list of records is at 'data.bars'", 1),
    (json.dumps({"data": {"bars": [bar("AA", date(2020, 1, 2), 1.0)]}}), {}, "bars of 2020-01-02", 1),
    (b"x" * 40_000, {}, "more than 20,000 bytes", 1),
    (gzip.compress(b"0" * 30_000), {}, "unpacks to more than 20,000 bytes", 1),
]


@pytest.mark.parametrize(("body", "headers", "why", "requests"), WRONG, ids=[w[2] for w in WRONG])
def test_what_is_no_answer_is_an_error(
    tmp_path: Path, body: str | bytes, headers: dict[str, str], why: str, requests: int
) -> None:
    """Never an empty day: the delivery cannot be read, nothing of it is kept, and the next attempt asks again."""

    def answer(_: Asked) -> Reply:
        return Reply(body, headers=headers)

    with opened(tmp_path, answer, PLAIN, **{**BARS, "page_size": None, "max_bytes": 20_000}) as (source, vendor):
        with pytest.raises(CaptureUnreadable, match=why):
            source.fetch(SESSIONS[0])
        assert len(vendor.asked) == requests
        with pytest.raises(CaptureUnreadable):
            source.fetch(SESSIONS[0])
        assert len(vendor.asked) == 2 * requests


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (503, 3), (404, 1), (401, 1)])
def test_what_passes_is_asked_again(tmp_path: Path, status: int, requests: int) -> None:
    """Errors of the server are tried again, refusals are not."""
    with opened(tmp_path, lambda _: Reply("no", status=status), PLAIN, **BARS) as (source, vendor):
        with pytest.raises(CaptureUnreadable, match=f"HTTP {status}"):
            source.fetch(SESSIONS[0])
        assert len(vendor.asked) == requests


def test_a_vendor_is_waited_for_as_long_as_it_asks(tmp_path: Path) -> None:
    """Between requests lies the declared pace, and after a 429 what Retry-After has."""
    busy = iter([Reply("slow down", status=429, headers={"Retry-After": "37"})])

    with opened(
        tmp_path, lambda a: next(busy, None) or whole(a), PLAIN, **{**BARS, "page_size": None, "per_minute": 30}
    ) as (source, _):
        assert len(closes(source, SESSIONS[0])) == 3
        waited = source.clock.slept  # pyright: ignore[reportAttributeAccessIssue]  # the stub's
    assert waited == [37.0]


def test_an_interrupted_request_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Pages that were received are not asked for again, and the rows are those of a run without interruption."""
    down = True

    def answer(asked: Asked) -> Reply:
        return Reply("no", status=404) if down and asked.query["page"] == "2" else paged(ROWS, 2)(asked)

    with opened(tmp_path, answer, PAGED, **BARS) as (source, vendor):
        with pytest.raises(CaptureUnreadable):
            source.fetch(SESSIONS[0])
        down = False
        assert len(closes(source, SESSIONS[0])) == 3
        assert [a.query["page"] for a in vendor.asked] == ["1", "2", "2"]


@pytest.mark.parametrize("to", ["http://localhost:1/elsewhere", "https://evil.example/x", "http://127.0.0.1:1/x"])
def test_a_redirect_to_another_host_is_refused(tmp_path: Path, to: str) -> None:
    """The key would go along."""
    with opened(tmp_path, lambda _: Reply("", status=302, headers={"Location": to}), PLAIN, **BARS) as (source, vendor):
        with pytest.raises(CaptureUnreadable, match="not followed"):
            source.fetch(SESSIONS[0])
        assert len(vendor.asked) == 1


def test_the_next_page_on_another_host_is_refused(tmp_path: Path) -> None:
    """A link in the answer leads only where the first request went."""

    def answer(asked: Asked) -> Reply:
        return Reply({"data": {"bars": between(asked, ROWS)}, "next": "https://evil.example/more"})

    declared_so = opened(tmp_path, answer, PLAIN, **{**BARS, "next": "next"})
    with declared_so as (source, _), pytest.raises(CaptureUnreadable, match=r"another host, evil\.example"):
        source.fetch(SESSIONS[0])


def test_a_vendor_that_ignores_the_page_is_found_out(tmp_path: Path) -> None:
    """The same page again and again is an error, not ten thousand pages."""
    with opened(tmp_path, whole, PAGED, **{**BARS, "page_size": 3}) as (source, vendor):
        with pytest.raises(CaptureUnreadable, match="repeats the one before"):
            source.fetch(SESSIONS[0])
        assert len(vendor.asked) == 2


def test_a_slow_answer_ends(tmp_path: Path) -> None:
    """A body that drips is given up after the declared time."""
    import time as wall

    def answer(asked: Asked) -> Reply:
        wall.sleep(0.6)
        return whole(asked)

    slow = opened(tmp_path, answer, PLAIN, **{**BARS, "timeout": 0.2, "attempts": 1})
    with slow as (source, _), pytest.raises(CaptureUnreadable, match="timed out"):
        source.fetch(SESSIONS[0])


def test_deleted_records_are_asked_for_again(tmp_path: Path) -> None:
    """What is kept never changes; once its files are deleted the label counts as changed, and the vendor is asked."""
    closing = 10.0

    def answer(asked: Asked) -> Reply:
        return Reply({"data": {"bars": [bar("AA", date.fromisoformat(asked.query["from"]), closing)]}})

    with opened(tmp_path, answer, PLAIN, **{**BARS, "page_size": None}) as (source, vendor):
        first = source.fetch(SESSIONS[0])
        assert source.fingerprints([SESSIONS[0]]) == {SESSIONS[0]: first.fingerprint}
        closing = 11.0
        for path in tmp_path.rglob(f"*{SESSIONS[0]}*"):
            if path.is_file():
                path.unlink()
        for path in tmp_path.rglob(f"{SESSIONS[0]}_*/*.parquet"):
            path.unlink()
        assert source.fingerprints([SESSIONS[0]])[SESSIONS[0]] != first.fingerprint
        assert closes(source, SESSIONS[0]) == {"AA": 11.0}
        assert len(vendor.asked) == 2


def test_a_plan_counts_requests_and_time(tmp_path: Path) -> None:
    """Two symbols on six sessions at 30 a minute are 12 requests and 24 seconds; nothing is asked."""
    with opened(tmp_path, whole, PLAIN + "&s={symbol}", **{**BARS, "symbols": ("AA", "BB"), "per_minute": 30}) as (
        source,
        vendor,
    ):
        assert isinstance(source, Planned)
        plan = source.plan()
        assert (len(plan.labels), plan.requests, plan.seconds, vendor.asked) == (6, 12, 24.0, [])


REFUSED = [
    ({"url": "http://api.example/x?d={first}"}, "https"),
    ({"url": "https://user@api.example/x?d={first}"}, "https"),
    ({"url": "https://api.example/x?d={day}"}, "nothing fills in day"),
    ({"url": "https://api.example/x"}, "names no day"),
    ({"url": "https://api.example/{symbol}?d={first}"}, "belong together"),
    ({"url": "https://api.example/x?d={first}", "key_env": "K"}, "one way to be sent"),
    ({"url": "https://api.example/x?d={first}", "key_header": "K"}, "one way to be sent"),
    ({"url": "https://api.example/x?d={first}&c={cursor}"}, "needs `next`"),
]


@pytest.mark.parametrize(("keys", "why"), REFUSED, ids=[w for _, w in REFUSED])
def test_what_cannot_be_asked_is_refused(keys: dict[str, str], why: str) -> None:
    """When the deployment is loaded, with what to write."""
    with pytest.raises(ConfigurationError, match=why):
        declared({"kind": "http", "name": "v", "first": date(2024, 1, 2), **keys})


def test_it_can_be_declared_as_a_source_and_as_a_feed() -> None:
    """With few keys; the rest has defaults."""
    found = declared({"kind": "http", "name": "v", "first": date(2024, 1, 2), "url": "https://a.example/x?d={last}"})
    assert isinstance(found, HttpFeed)
    assert (found.dataset, found.body, msgspec.structs.asdict(found)["per_minute"]) == ("bars", "json", 60.0)


def test_a_key_is_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and as an address has it."""
    monkeypatch.setenv("K_KEY", SECRET)
    asking = Asking("v", Key("K_KEY", "", "", "k"), 60, 1, 1000, Retry(), Pause())
    assert asking.without_key(f"{SECRET} s3cr3t%2Fk%3Dy") == "[K_KEY] [K_KEY]"
