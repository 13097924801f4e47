"""Prints docs/data-contracts.md from the tables that the code declares. `make docs` writes it; a test holds it current."""

from quant_assets.contract import Table
from quant_assets.market_data.datasets import contracts
from quant_assets.tables import feature_table

HEAD = """\
# Data contracts

Made from `quant_assets/tables.py` by `make docs`; do not edit.

Every table is a Delta Lake table, appended to and never overwritten, partitioned by the `year` of its event column.
A row's **key** identifies it for good. Its **subject** is the key without `known_at`: of the rows of one subject known
by a cut, the one with the latest `known_at` is in force, and a `withdrawn` one in force means that there is none.
Columns **beside** are recorded with a row and do not make it another row. Times are UTC microseconds.
"""


def page(tables: tuple[Table, ...]) -> str:
    """The page on these tables, as Markdown."""
    return "\n".join([HEAD, *(section(table) for table in tables)])


def section(table: Table) -> str:
    """One table: what a row means, its key, its columns."""
    rows = [f"| `{name}` | {dtype} | {role(table, name)} | {table.units.get(name, '')} |" for name, dtype in table.schema.items()]
    return "\n".join([f"## {table.name}", "", table.doc, "", "| column | type | role | unit |", "|---|---|---|---|", *rows, ""])


def role(table: Table, column: str) -> str:
    """What a column is for in its table."""
    roles = {"key": column in table.key, "event": column == table.event, "beside": column in table.beside}
    return ", ".join(name for name, applies in roles.items() if applies)


if __name__ == "__main__":
    print(page((*contracts(), feature_table("SET", ("each_feature_of_the_set",)))), end="")
