"""Which SQL statements may be asked: one question that reads tables, by DuckDB's own parser, before anything runs."""

import re
from typing import TYPE_CHECKING, Any

import msgspec

from quant_assets.errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb

QUESTIONS = "SELECT, WITH, FROM, VALUES, TABLE, DESCRIBE, SHOW, SUMMARIZE, or EXPLAIN before one of these"
NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
TABLES = {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram",
          "histogram_values", "duckdb_columns", "duckdb_functions", "duckdb_tables", "duckdb_views", "duckdb_types",
          "duckdb_keywords", "pragma_table_info", "pragma_version"}  # fmt: skip
"""Table functions that make rows of their arguments or list the catalogue. Every other one reads or writes something
outside of the tables, runs text as SQL, or takes an address in memory."""
SCALARS = {"getenv", "current_setting", "getvariable", "write_log", "setseed", "nextval", "currval", "setval",
           "sleep_ms", "pg_sleep", "stats", "current_query", "txid_current", "json_execute_serialized_sql",
           "which_secret", "inet_client_addr", "inet_server_addr", "remap_struct", "invoke"}  # fmt: skip
"""Scalar functions that read the environment or the engine's settings, keep a state, wait or write a log."""
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*explain\s+(?:\(\s*\w+(?:\s+\w+)?\s*\)\s*)?(?:analyze\s+)?", re.IGNORECASE | re.DOTALL
)


def question(con: "duckdb.DuckDBPyConnection", query: str) -> None:
    """Raise ConfigurationError unless `query` is one statement that asks, and calls no function but those that
    compute. Nothing of it is run.
    """
    import duckdb

    statements = con.extract_statements(query)
    if len(statements) != 1:
        raise ConfigurationError(f"the text has {len(statements)} statements; ask one question at a time: {QUESTIONS}")
    kind = statements[0].type
    if kind not in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        raise ConfigurationError(f"{str(kind).rpartition('.')[2]} is not a question; write {QUESTIONS}")
    # what is explained is parsed alone: the parser writes no tree of an EXPLAIN
    asked = query[found.end() :] if (found := _EXPLAIN.match(query)) else query
    ((tree,),) = con.execute("select json_serialize_sql(?::varchar)", [asked]).fetchall()
    parsed = msgspec.json.decode(tree)
    if parsed["error"]:
        raise ConfigurationError(
            f"the statement is not plain SQL that reads ({parsed['error_message']}); write {QUESTIONS}, and PIVOT with "
            "its values: PIVOT … ON column IN (…)"
        )
    _walk(parsed["statements"])


def _walk(node: Any) -> None:
    """Raise ConfigurationError where a part of a parsed statement is not allowed."""
    if isinstance(node, list):
        for part in node:
            _walk(part)
    elif isinstance(node, dict):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in NODES:
            raise ConfigurationError(f"{kind.removesuffix('_QUERY_NODE')} changes data; write {QUESTIONS}")
        if kind == "TABLE_FUNCTION":
            called = node["function"]["function_name"]
            if called.lower() not in TABLES:
                raise ConfigurationError(
                    f"the table function {called} is not available here; {', '.join(sorted(TABLES))} are"
                )
        elif node.get("class") == "FUNCTION" and node["function_name"].lower() in SCALARS:
            raise ConfigurationError(
                f"the function {node['function_name']} is not available here: a question reads tables alone"
            )
        for part in node.values():
            _walk(part)
