"""The first deployment as a person would write it, with the reason of each choice."""

from textwrap import wrap

import msgspec

from desk.begin.fitting import ALWAYS, DEFAULT, Fit
from desk.begin.sizing import Sizes
from quant_assets.currencies import paid_in
from resources.sources.preview import Preview
from resources.sources.reading.declaring import as_yaml, flow

WIDTH = 110  # of a comment
KNOWN_AT = """an assumption: each row was known an hour after the close of its session. Write when you really had it;
results are marked ASSUMED until a column names the delivery (mapping: label)"""
CURRENCY = "not in the files: in what the prices are; that of the books too (pounds for pence, GBX)"


def text(found: Preview, fit: Fit, sized: Sizes) -> str:
    """The YAML of the deployment."""
    currency = str(found.source.get("currency", "USD"))
    comments = {"known_at": KNOWN_AT, "mapping": _mapping(found)}
    if "currency" not in found.source:
        comments["currency"] = CURRENCY
    source = {**{k: v for k, v in found.source.items() if k != "mapping"}, "currency": currency}
    return "\n".join(
        [
            f"# {sized.names:,} names, {sized.rows:,} rows, {sized.sessions:,} sessions: {fit.first} to {fit.last}.",
            "# Written from the files by quant init; every choice is yours to change, then try it: quant check",
            "# Secrets never go here.",
            *_comment(f"No trade can come of these files: {sized.why}." if sized.why else ""),
            "",
            *_days(fit, sized),
            "",
            as_yaml({**source, "mapping": found.source.get("mapping", {})}, comments),
            "",
            *_strategy(fit, sized),
            "",
            *_books(paid_in(currency)[0]),
            "",
        ]
    )


def _days(fit: Fit, sized: Sizes) -> list[str]:
    first = ", ".join(str(d) for d in fit.outside[:3]) + (", …" if len(fit.outside) > 3 else "")
    outside = f"{len(fit.outside):,} days of the files are none of its sessions" + (f" ({first})" if first else "")
    named = {True: "its sessions were named", False: "its sessions fit the days of the files"}[fit.chosen]
    always = " (weekends are traded)" if fit.code == ALWAYS and not fit.chosen else ""
    alike = f"; {', '.join(fit.alike)} would fit as well" if fit.alike else ""
    model = f"; the first model is cut after {sized.first_model}" if sized.first_model else ""
    return [
        "# session: a historical run, each session at its own decision time. For files that grow day by day, write",
        "# system: the wall clock",
        "clock: session",
        *_comment(f"{named}{always}: {outside}, {fit.missing:,} of its sessions have no row{alike}"),
        f"calendar: {flow(fit.code)}",
        *_comment(f"what lies before is history{model}; {sized.live} sessions are left for `quant run daily`"),
        f"start: {sized.start}",
    ]


def _comment(line: str) -> list[str]:
    return [f"# {part}" for part in wrap(line, WIDTH)]


def _mapping(found: Preview) -> str:
    lines = ["the field here, the column of the files there; a column that is not named is not used", *found.ambiguous]
    return "\n".join(part for line in lines for part in wrap(line, WIDTH))


def _strategy(fit: Fit, sized: Sizes) -> list[str]:
    learning = sized.learning
    model: dict[str, object] = {"rounds": 120, "min_sessions": learning.min_sessions}
    if learning.validation != 20:
        model["validation"] = learning.validation
    if sized.params:
        model["params"] = dict(sized.params)
    universe: dict[str, object] = {"name": "own", "size": sized.size}
    if learning.lookback != 20:
        universe["lookback"] = learning.lookback
    if sized.min_price != 3.0:
        universe["min_price"] = sized.min_price
    limits = {"min_members": sized.min_members, "max_weight": sized.max_weight}
    limits |= {"min_coverage": sized.min_coverage} if sized.min_coverage != 0.9 else {}
    limits |= {"max_psi": sized.max_psi} if sized.max_psi != 0.5 else {}
    return [
        "strategies:",
        "  - name: first",
        *([f"    calendar: {flow(fit.code)}"] if fit.code != DEFAULT else []),
        f"    # the {sized.size:,} most liquid of {sized.names:,} names, each month anew",
        f"    universe: {_flow(universe)}",
        f"    # the best {sized.holdings} of them are held, equally weighted",
        f"    holdings: {sized.holdings}",
        "    # trained at each month's end; a model that foretells nothing is refused, and then nothing is traded",
        f"    model: {_flow(model)}",
        "    # max_weight: room for one name; max_psi: few names look different from day to day by chance",
        f"    limits: {_flow(limits)}",
    ]


def _books(currency: str) -> list[str]:
    return [
        "books:",
        *(
            f'  - {{name: {name}, strategy: first, account: {account}, capital: "1000000", currency: {currency}{more}}}'
            for name, account, more in (
                ("research", "RESEARCH", ""),
                ("paper", "PAPER-1", ", broker: paper, armed: true"),
            )
        ),
    ]


def _flow(value: object) -> str:
    """Numbers as numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    return flow(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
