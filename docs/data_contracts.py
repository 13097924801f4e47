"""Prints docs/data-contracts.md from the tables that the code declares.

`make docs` writes it; a test holds it current.
"""

from collections.abc import Mapping, Sequence

from quant_assets.contract import Table
from quant_assets.market_data.datasets import DATASETS, contracts
from quant_assets.market_data.quality import RULES
from quant_assets.market_data.rules import Rule
from quant_assets.tables import BARS, feature_table

RULES_OF: Mapping[str, Sequence[Rule]] = {BARS.name: RULES, **{d.name: d.rules for d in DATASETS}}

HEAD = """\
# Data contracts

Made from `quant_assets/tables.py`, `quant_assets/vendor_tables.py`, `quant_assets/market_data/quality.py` and
`quant_assets/market_data/datasets.py` by `make docs`; do not edit.

Every table is a Delta Lake table, appended to and never overwritten, partitioned by the `year` of its event column.
A row's **key** identifies it for good. Its **subject** is the key without `known_at`: of the rows of one subject known
by a cut, the one with the latest `known_at` is in force, and a `withdrawn` one in force means that there is none.
A rule that **refuses** sends a row to quarantine, one that **blocks** keeps what it judged from being traded on, one
that **warns** leaves a finding; the limit is the share of rows (or the number) that still passes.
Columns **beside** are recorded with a row and do not make it another row. Times are UTC microseconds.
"""


def page(tables: tuple[Table, ...]) -> str:
    """The page on these tables, as Markdown."""
    return "\n".join([HEAD, *(section(table) for table in tables)])


def section(table: Table) -> str:
    """One table: what a row means, its key, its columns, and the rules that judge it."""
    rows = [
        f"| `{name}` | {dtype} | {role(table, name)} | {table.units.get(name, '')} |"
        for name, dtype in table.schema.items()
    ]
    judged = [f"| {r.name} | {r.severity}s | {r.question} | {limit(r)} |" for r in RULES_OF.get(table.name, ())]
    rules = ["| rule | it | asks | limit |", "|---|---|---|---|", *judged, ""] if judged else []
    return "\n".join(
        [
            f"## {table.name}",
            "",
            table.doc,
            "",
            "| column | type | role | unit |",
            "|---|---|---|---|",
            *rows,
            "",
            *rules,
        ]
    )


def limit(rule: Rule) -> str:
    """How much still passes."""
    return "none" if rule.severity == "refuse" else f"{'at least' if rule.at_least else 'at most'} {rule.threshold:g}"


def role(table: Table, column: str) -> str:
    """What a column is for in its table."""
    roles = {"key": column in table.key, "event": column == table.event, "beside": column in table.beside}
    return ", ".join(name for name, applies in roles.items() if applies)


if __name__ == "__main__":
    print(page((*contracts(), feature_table("SET", ("each_feature_of_the_set",)))), end="")
