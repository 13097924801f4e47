"""The deployment file is a contract: what it cannot mean is refused, every fault at once, and never with a secret in
the message.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from desk.deployment import DEFAULT, Deployment, DeploymentRefused, load, schema
from desk.document.reading import read
from desk.document.yaml12 import parse, untyped
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.evidence import Evidence
from quant_assets.records import Book, safe_name
from quant_assets.strategy import LIQUID_MOMENTUM, LabelRule, Limits, ModelRule, Strategy, UniverseRule
from resources.sources.exchange import ExchangeFeed
from resources.sources.ib import IbFeed
from resources.sources.market import Simulated
from tests.desk.deployments import NAMES, UNSAFE, beyond, values

BASE = """clock: session
start: 2025-06-02
source: {kind: simulated, seed: 7, names: 30, first: 2024-06-03, last: 2025-06-30}
strategies:
  - name: slow
    universe: {name: liquid, size: 20}
    holdings: 10
    limits: {max_weight: 0.05}
books:
  - {name: desk, strategy: slow, account: A7, capital: "250000", broker: paper, armed: true}
"""
CCXT = "feeds:\n  - {kind: ccxt, exchange: binance, symbols: [BTC/USDT], first: 2025-01-02}\n"
FILE = "source: {kind: files, prices: p.csv, known_at: close+1h}"
SIMULATED = "source: {kind: simulated, seed: 7, names: 30, first: 2024-06-03, last: 2025-06-30}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the file stands."""
    return tmp_path / "deployment.yaml"


def refused(place: Path, text: str) -> DeploymentRefused:
    """What is wrong with the text."""
    place.write_text(text)
    with pytest.raises(DeploymentRefused) as caught:
        load(place)
    return caught.value


REFUSED = [
    # keys: unknown, of another part, twice
    ("max_weight: 0.05", "max_wieght: 0.02", 8, "strategies[0].limits.max_wieght", "did you mean max_weight?"),
    ("max_weight: 0.05", "max_orders: 5", 8, "strategies[0].limits.max_orders", "it is a key of a book"),
    ("armed: true", "arm: false", 10, "books[0].arm", "did you mean armed?"),
    ("clock: session", "clok: session", 1, "clok", "did you mean clock?"),
    ("seed: 7", "seeed: 8", 3, "source.seeed", "did you mean seed?"),
    ("size: 20", "size: 20, min_prize: 10", 6, "strategies[0].universe.min_prize", "did you mean min_price?"),
    (
        "size: 20",
        "size: 20, eligible: {exclude_sector: [E]}",
        6,
        "strategies[0].universe.eligible.exclude_sector",
        "exclude_sectors",
    ),
    (
        "holdings: 10",
        "holdings: 10\n    label: {horizon: 5, knid: x}",
        8,
        "strategies[0].label.knid",
        "did you mean kind?",
    ),
    ("holdings: 10", "holdings: 10\n    holdings: 3", 8, "strategies[0].holdings", "is given twice, first on line 7"),
    ("armed: true", "armed: false, armed: true", 10, "books[0].armed", "is given twice"),
    ("clock: session", "<<: {clock: session}", 1, "<<", "no such key"),
    ("name: slow\n", "nmae: slow\n", 5, "strategies[0].name", "lacks it"),
    # values: beyond the range, of another kind
    ("holdings: 10", "holdings: 0", 7, "strategies[0].holdings", "from 1 to 100,000; found 0"),
    ("max_weight: 0.05", "max_weight: 5", 8, "strategies[0].limits.max_weight", "0.05 is five percent"),
    ("max_weight: 0.05", "min_coverage: 90", 8, "strategies[0].limits.min_coverage", "from 0 to 1"),
    ("max_weight: 0.05", "max_gross: .inf", 8, "strategies[0].limits.max_gross", "at most 10"),
    ("max_weight: 0.05", "max_psi: 1e999", 8, "strategies[0].limits.max_psi", "must be a number"),
    ("holdings: 10", "holdings: 010", 7, "strategies[0].holdings", "whole number"),
    ("holdings: 10", 'holdings: "10"', 7, "strategies[0].holdings", "without quotes"),
    ('"250000"', "NaN", 10, "books[0].capital", "an amount above 0"),
    ('"250000"', "-1", 10, "books[0].capital", "an amount above 0"),
    ('"250000"', '"1,000,000"', 10, "books[0].capital", "write 1000000"),
    ('"250000"', '"1.000,00"', 10, "books[0].capital", "point for the fraction"),
    ("broker: paper", "broker: paper, max_order_notional: 0", 10, "books[0].max_order_notional", "above 0"),
    ("armed: true", "armed: off", 10, "books[0].armed", "true or false"),
    ("armed: true", 'armed: "true"', 10, "books[0].armed", "true or false"),
    ("clock: session", "clock: Session", 1, "clock", "did you mean session?"),
    ("start: 2025-06-02", "start: 2025-6-2", 2, "start", "as in 2025-06-02"),
    (
        "holdings: 10",
        "holdings: 10\n    label: {horizon: 5, upper: 3}",
        8,
        "strategies[0].label",
        "belong to triple_barrier",
    ),
    ("limits: {max_weight: 0.05}", "limits: 0.05", 8, "strategies[0].limits", "has the keys"),
    ("books:\n", "books: none\nbucks:\n", 9, "books", "must be a list"),
    # names
    ("account: A7", "account: ../../A7", 10, "books[0].account", "must be a name"),
    ("name: desk", "name: a b", 10, "books[0].name", "must be a name"),
    ("name: liquid", "name: CON", 6, "strategies[0].universe.name", "device of Windows"),
    # what does not hold between the parts
    (
        "start: 2025-06-02",
        "start: 2025-06-07",
        2,
        "start",
        "Saturday 2025-06-07 is no session of XNYS; the nearest are 2025-06-06 and 2025-06-09",
    ),
    ("start: 2025-06-02", "start: 2025-07-04", 2, "start", "is no session"),
    ("start: 2025-06-02", "start: 2026-06-02", 2, "start", "after the source's last day"),
    ("start: 2025-06-02", "start: 1925-06-02", 2, "start", "outside the known days"),
    ("last: 2025-06-30", "last: 2023-06-30", 3, "source.last", "lies before source.first"),
    (
        "first: 2024-06-03, last: 2025-06-30",
        "first: 2025-06-02, last: 2025-06-05, signal: 0.1",
        3,
        "source.last",
        "at least 8 sessions",
    ),
    ("clock: session", "clock: session\ncalendar: NYSE", 2, "calendar", "did you mean XNYS?"),
    (
        "name: slow\n",
        "name: slow\n    calendar: XLON\n",
        6,
        "strategies[0].calendar",
        "no data feeds a strategy of XLON",
    ),
    ("broker: paper", "broker: papr", 10, "books[0].broker", "did you mean paper?"),
    ("broker: paper, ", "", 10, "books[0].armed", "a research book cannot be armed"),
    ("strategy: slow", "strategy: slwo", 10, "books[0].strategy", "did you mean slow?"),
    ("broker: paper", "broker: paper, currency: EUR", 10, "books[0].currency", "no feed of fx_rates converts"),
    ("broker: paper", "broker: paper, currency: XXX", 10, "books[0].currency", "ISO 4217"),
    ("holdings: 10", "feature_set: alpha15", 7, "strategies[0].feature_set", "did you mean alpha158?"),
    ("holdings: 10", "feature_set: alpha158_1m", 7, "strategies[0].feature_set", "once a session"),
    ("max_weight: 0.05", "min_members: 21", 8, "strategies[0].limits.min_members", "size 20"),
    (
        "size: 20",
        "size: 20, eligible: {index: [sp500]}",
        6,
        "strategies[0].universe.eligible.index",
        "which no feed brings",
    ),
    (
        "holdings: 10",
        "label: {horizon: 5, net_of: {universe: liqiud}}",
        7,
        "strategies[0].label.net_of.universe",
        "did you mean liquid?",
    ),
    (
        "holdings: 10",
        "model: {params: {num_leafs: 5}}",
        7,
        "strategies[0].model.params.num_leafs",
        "did you mean num_leaf",
    ),
    (
        "holdings: 10",
        "model: {params: {objective: binary}}",
        7,
        "strategies[0].model.params.objective",
        "must be one of regression",
    ),
    ("holdings: 10", "model: {params: {seed: 3}}", 7, "strategies[0].model.params.seed", "model.seed"),
    ("clock: session", "clock: session\npackages: [not-a-module]", 2, "packages[0]", "not the name of a module"),
    (
        "clock: session",
        "clock: session\nbars: [{feature_set: alpha158_1x, venue: v}]",
        2,
        "bars[0].feature_set",
        "alpha158_1",
    ),
    ("clock: session", f"clock: session\n{CCXT.replace('ccxt', 'cctx')}", 3, "feeds[0].kind", "did you mean ccxt?"),
    (
        "clock: session",
        "clock: session\nfeeds: [{kind: tabular, dataset: fx_rate, files: a.csv}]",
        2,
        "feeds[0].dataset",
        "did you mean fx_rates?",
    ),
    (
        "clock: session",
        "clock: session\nfeeds: [{kind: tabular, dataset: fx_rates, files: a.csv}]",
        2,
        "feeds[0]",
        "a mapping, or a layout",
    ),
    (
        "clock: session",
        "clock: session\nfeeds: [{kind: tabular, dataset: fx_rates, files: a.csv, known_at: close+1h}]",
        2,
        "feeds[0].known_at",
        "a rule like event+1d",
    ),
    ("clock: session", f"clock: session\n{CCXT.replace('first', 'bar: 7m, first')}", 3, "feeds[0]", "divides the day"),
    ("clock: session", f"clock: session\n{CCXT}{CCXT.splitlines()[1]}", 4, "feeds[1]", "two feeds are named"),
]


@pytest.mark.parametrize(("good", "bad", "line", "path", "says"), REFUSED, ids=[f"{r[3]} {r[1][:24]}" for r in REFUSED])
def test_what_it_cannot_mean_is_refused(place: Path, good: str, bad: str, line: int, path: str, says: str) -> None:
    """By file and line, under its key, with what was meant or allowed."""
    assert good in BASE
    faults = refused(place, BASE.replace(good, bad, 1)).faults
    assert (path, line) in [(f.path, f.line) for f in faults]
    assert says in next(f.what for f in faults if f.path == path)


@pytest.mark.parametrize(
    ("twice", "key"),
    [
        ("{name: desk, strategy: slow, account: B1, capital: 5, broker: paper}", "name"),
        ("{name: Desk, strategy: slow, account: B1, capital: 5}", "name"),
        ("{name: other, strategy: slow, account: A7, capital: 5}", "account"),
        ("{name: other, strategy: slow, account: A7, capital: 5, broker: paper, costs: {kind: per_share}}", "account"),
        ("{name: other, strategy: slow, account: a7, capital: 5}", "account"),
    ],
)
def test_names_and_accounts_are_of_one_book(place: Path, twice: str, key: str) -> None:
    """Also where they differ in capitals, which one disk tells apart and another does not."""
    (fault,) = refused(place, f"{BASE}  - {twice}\n").faults
    assert fault.path == f"books[1].{key}"
    assert "books[0]" in fault.what


def test_books_may_share_an_account(place: Path) -> None:
    """With one venue and at one moment; but none has the name under which the account's own record is kept."""
    place.write_text(f"{BASE}  - {{name: other, strategy: slow, account: A7, capital: 5, broker: paper}}\n")
    assert [b.account for b in load(place).books] == ["A7", "A7"]
    (fault,) = refused(
        place, f"{BASE}  - {{name: a7, strategy: slow, account: A7, capital: 5, broker: paper}}\n"
    ).faults
    assert (fault.path, "called like the account" in fault.what) == ("books[1].name", True)


def test_books_of_one_account_trade_at_one_moment(place: Path) -> None:
    """Between two moments the venue has what only one of the books has booked."""
    second = "  - {name: late, decide: {kind: before_close, minutes: 30}, label: {kind: traded_close_to_close}}\n"
    text = BASE.replace("books:\n", f"{second}books:\n") + (
        "  - {name: other, strategy: late, account: A7, capital: 5, broker: paper}\n"
    )
    assert "at another moment" in next(f.what for f in refused(place, text).faults if f.path == "books[1].account")


LOADED: list[tuple[str, str, Any, Any]] = [
    ("name: slow\n", "name: NO\n", lambda d: d.strategies[0].name, "NO"),
    ("name: slow\n", "name: 007\n", lambda d: d.strategies[0].name, "007"),
    ("name: slow\n", "name: 1e3\n", lambda d: d.strategies[0].name, "1e3"),
    ('"250000"', "1e6", lambda d: str(d.books[0].capital), "1000000"),
    ('"250000"', "250000.10", lambda d: str(d.books[0].capital), "250000.10"),
    ("armed: true", "armed: false", lambda d: d.books[0].armed, False),
    ("start: 2025-06-02", 'start: "2025-06-02"', lambda d: str(d.start), "2025-06-02"),
    ("limits: {max_weight: 0.05}", "limits: &l {max_weight: 0.05}", lambda d: d.strategies[0].limits.max_weight, 0.05),
    (
        "holdings: 10",
        "model: {params: {objective: huber, eta: 0.1}}",
        lambda d: d.strategies[0].model.params["eta"],
        0.1,
    ),
    (SIMULATED, FILE, lambda d: d.source["prices"], "p.csv"),
    (
        "clock: session",
        (
            "clock: session\nfeeds: [{kind: ib, dataset: intraday_bars, symbols: [NO, ON, TRUE, Y, NULL, 1e3], "
            "first: 2025-01-02}]"
        ),
        lambda d: d.feeds[0]["symbols"],
        ("NO", "ON", "TRUE", "Y", "NULL", "1e3"),
    ),
]


@pytest.mark.parametrize(("good", "other", "look", "found"), LOADED)
def test_what_it_means_is_loaded(place: Path, good: str, other: str, look: Any, found: Any) -> None:
    """A symbol stays a symbol, an amount exact."""
    wanted = BASE.replace("strategy: slow", f"strategy: {other[6:].strip()}") if good == "name: slow\n" else BASE
    place.write_text(wanted.replace(good, other, 1))
    assert look(load(place)) == found


def test_a_book_is_kept_in_what_its_source_is_priced_in(place: Path) -> None:
    """Prices in pounds make a book in pounds."""
    text = BASE.replace(SIMULATED, FILE.replace("}", ", currency: GBP}"))
    place.write_text(text.replace("broker: paper", "broker: paper, currency: GBP"))
    assert load(place).books[0].currency == "GBP"
    assert "GBP" in refused(place, text).faults[0].what


@pytest.mark.parametrize(("prices", "book", "quoted"), [
    ("GBX", "GBP", "GBX"), ("GBP", "GBP", "GBP"), ("GBX", "USD", None), ("GBP", "USD", None), ("GBX", "GBX", None),
    ("GBP", "GBP, quoted: GBX", "GBX"), ("GBP", "GBP, quoted: USD", None), ("GBX", "USD, quoted: USD", "USD"),
])  # fmt: skip
def test_a_book_knows_in_what_its_prices_are(place: Path, prices: str, book: str, quoted: str | None) -> None:
    """Pence are paid in pounds; pounds in a book in dollars need rates; what the book declares comes first."""
    text = BASE.replace(SIMULATED, FILE.replace("}", f", currency: {prices}}}"))
    text = text.replace("broker: paper", f"broker: paper, currency: {book}")
    given = "known_at: event+1d, mapping: {session: day, base: one, quote: other, rate: costs}"
    rates = f"feeds:\n  - {{kind: tabular, dataset: fx_rates, files: r.csv, {given}}}\n"
    place.write_text(text + rates if book != "GBX" else text)
    if book == "GBX":
        assert "ISO 4217" in refused(place, text).faults[0].what
        return
    assert load(place).books[0].priced_in == (quoted or (prices if "quoted" not in book else "USD"))
    if quoted is None:
        assert "no feed of fx_rates" in refused(place, text).faults[0].what


UNREADABLE = [
    ("", "1: the file is empty"),
    ("\ta: 1", "1:1.*a tab"),
    ("a: [1\nb: 2", "2:.*no YAML"),
    ("a: *gone", "1:4.*alias"),
    ("a: !!python/name:os.system x", "1:4.*tags"),
    ("a: &a [*a]", "levels deep"),
    ("a: 1\n---\nb: 1", "second document"),
    (b"a: \xff", "1: the file is not UTF-8"),
    ("a: \x00", "a character that YAML does not allow"),
    (f"a: {'[' * 3000}", "levels deep|no YAML"),
    (
        "a0: &b0 [x, x]\n" + "".join(f"a{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 9)),
        "more than 50,000 values",
    ),
]


@pytest.mark.parametrize(("text", "says"), UNREADABLE)
def test_what_is_no_yaml_is_refused_by_its_line(place: Path, text: str | bytes, says: str) -> None:
    """Syntax, tags, another encoding, a document that holds itself."""
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=says):
        load(place)


SECRETS = [
    "source: {kind: files, prices: p.csv, token: s3cr3t}",
    "source: {kind: fiels, prices: s3cr3t}",
    "source: {kind: files, prices: [s3cr3t]}",
    "source: {kind: files, prices: {x: s3cr3t}, known_at: s3cr3t}",
    "source: {kind: ib, symbols: [A], first: 2024-01-02, port: s3cr3t}",
    "source: s3cr3t",
    "sorce: {kind: files, apiKey: s3cr3t}",
    "source: {kind: files, prices: p.csv} # s3cr3t\nsource: {kind: files, prices: s3cr3t}",
    "source: {kind: files, prices: p.csv, [s3cr3t]: 1}",
    (
        "source: {kind: files, prices: p.csv}\nfeeds: [{kind: ccxt, exchange: e, symbols: [S], frist: x, "
        "options: {secret: s3cr3t}}]"
    ),
]


@pytest.mark.parametrize("source", SECRETS)
def test_a_secret_beside_a_fault_is_never_told(
    place: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the error nor in the line that `quant check` shows."""
    from jobs import cli

    assert "s3cr3t" not in str(refused(place, BASE.replace(SIMULATED, source)))
    monkeypatch.setattr("sys.argv", ["quant", "check", str(place)])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    assert "fault" in out
    assert "s3cr3t" not in out + err


STRUCTS = (Book, Strategy, UniverseRule, ModelRule, Limits, LabelRule, Evidence, Simulated, ExchangeFeed, IbFeed)


def fields() -> Iterator[tuple[type, mi.Field]]:
    """Every key of these parts."""
    for one in STRUCTS:
        kind = mi.type_info(one)
        assert isinstance(kind, mi.StructType)
        for key in kind.fields:
            yield one, key


def said(one: type, key: mi.Field, value: object) -> Any:
    """What is read where a part says just this."""
    text = yaml.safe_dump({key.encode_name: value}, allow_unicode=True)
    return read(parse(text.encode()), one)[1]


@pytest.mark.parametrize(
    ("one", "key"), list(fields()), ids=lambda v: getattr(v, "encode_name", getattr(v, "__name__", ""))
)
def test_each_key_refuses_what_lies_beyond_it(one: type, key: mi.Field) -> None:
    """A number outside of its range, another kind of value, not a number."""
    for value in beyond(key.type):
        assert key.encode_name in [f.path for f in said(one, key, value).faults], value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_read_is_what_the_types_take(data: st.DataObject) -> None:
    """A value that the types allow is read without a fault, and is the one that msgspec makes of it."""
    one, key = data.draw(st.sampled_from([(o, k) for o, k in fields() if not values(k.type).is_empty]))
    value = data.draw(values(key.type))
    found = said(one, key, value)
    assert key.encode_name not in [f.path for f in found.faults]
    (hint,) = [f for f in msgspec.structs.fields(one) if f.encode_name == key.encode_name]
    assert found.values[key.encode_name] == msgspec.convert(value, hint.type)


@given(NAMES, UNSAFE)
def test_names_are_safe_as_file_names(good: str, bad: str) -> None:
    """By type, wherever a book or strategy is made."""
    assert safe_name(good) == good
    for name in ("name", "account"):
        with pytest.raises(ValueError, match="is not a name"):
            Book(**{"name": good, "strategy": good, "account": good, "capital": 1, name: bad})
    with pytest.raises(ValueError, match="is not a name"):
        Strategy(name=bad)


def test_the_default_is_what_it_was() -> None:
    """Constraints and descriptions are no part of a strategy's identity: decisions made before keep their ids."""
    assert load(DEFAULT).strategies[0].config_hash == "523a0e149777fc418fd0f78904d4d1f4"
    assert LIQUID_MOMENTUM.config_hash == "d8065825780127e726d4b476a496c970"


def test_the_schema_is_shipped_and_knows_the_file() -> None:
    """Editors complete from the schema beside the default deployment: it is current, takes that file, and refuses
    another key.
    """
    from jsonschema import Draft202012Validator

    shipped = DEFAULT.with_name("deployment.schema.json").read_text()
    assert shipped == schema(), "run `make docs`"
    judge, declared = Draft202012Validator(json.loads(shipped)), untyped(parse(DEFAULT.read_bytes()))
    assert not list(judge.iter_errors(declared))
    assert list(judge.iter_errors({**declared, "clok": "session"}))
    assert list(judge.iter_errors({**declared, "books": [{**declared["books"][0], "name": "../x"}]}))


def test_a_deployment_made_in_code_is_the_one_in_the_file(place: Path) -> None:
    """What is encoded is read back."""
    place.write_text(BASE)
    made = load(place)
    place.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(made)))
    assert load(place) == made
    assert msgspec.convert(msgspec.to_builtins(made), Deployment) == made
