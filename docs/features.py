"""Prints docs/features.md from the feature sets that the platform declares.

`make docs` writes it; a test holds it current.
"""

from quant_assets.features.catalogue import OF_BARS, OF_SESSIONS
from quant_assets.features.sets import FeatureSet

HEAD = """\
# Feature sets

Made from the declarations in `quant_assets/features/` by `make docs`; do not edit.

Every set is a pure function of a panel. It becomes an asset (`features_<name>`) with one partition a session, a check
that it does not look ahead, a table of the same name and a page to explore it. Prices are forward-adjusted from the
anchor of the calendar quarter, volume by splits; `raw_` columns are as printed. A missing value is null.
"""


def section(one: FeatureSet) -> str:
    """One set: what it is, what it reads, and a line on each feature."""
    facts = [
        f"version {one.version}",
        f"{len(one.features)} features",
        f"every {one.frequency}",
        f"looks back {one.lookback}",
        f"reads {', '.join(f'`{c}`' for c in one.columns)}",
        *(
            [
                (
                    f"and by inputs {', '.join(f'`{i.name}`' for i in one.inputs)} from "
                    f"{', '.join(f'`{t}`' for t in sorted({t for i in one.inputs for t in i.tables}))}"
                )
            ]
            if one.inputs
            else []
        ),
        f"stored as {one.dtype}",
    ]
    rows = [f"| `{f}` | {one.meaning.get(f, '').replace('|', chr(92) + '|')} |" for f in one.features]
    return "\n".join(
        [f"## {one.name}", "", one.doc, "", "; ".join(facts) + ".", "", "| feature | meaning |", "|---|---|", *rows, ""]
    )


def page() -> str:
    """All sets as Markdown."""
    index = [f"- [{s.name}](#{s.name}): {s.doc}" for s in OF_SESSIONS]
    bars = ", ".join(f"`{s.name}`" for s in OF_BARS)
    return "\n".join(
        [
            HEAD,
            *index,
            f"- of intraday bars, with the same features and a bar for a session: {bars}",
            "",
            *(section(s) for s in OF_SESSIONS),
        ]
    )


if __name__ == "__main__":
    print(page(), end="")
