"""A table's log as Delta's protocol has it, written so that an entry is there whole or not at all, also after a power
cut: deltalake itself syncs neither entries nor checkpoints. Each entry names the hash of the one before it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from quant_assets.durable import make, put, sync

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

FOLDER = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
PREVIOUS = "previous"  # in an entry, the hash of the entry before it
INTERVAL = 10  # commits after which a checkpoint spares the next reader the log's small files
CONFIGURATION = {
    "delta.checkpointInterval": str(INTERVAL),  # for others that write
    "delta.enableExpiredLogCleanup": "false",  # or a checkpoint drops the log of every version older than thirty days
}
_SCRATCH = "_checkpoint"  # Delta passes over names that begin so


class OtherCommit(Exception):  # no fault: the writer compares again
    """Another writer committed this version first."""


def entry(log: Path, version: int) -> Path:
    """The file of a commit."""
    return log / f"{version:020}.json"


def entry_hash(content: bytes) -> str:
    """Hex SHA-256 of an entry."""
    return sha256(content).hexdigest()


def commit(log: Path, version: int, operation: str, actions: Sequence[Mapping[str, Any]], **metadata: str) -> str:
    """Commit `version`, with `metadata` beside the operation; return the hash of its entry. Durable when it returns.

    Raises OtherCommit where the version is there already.
    """
    before = {PREVIOUS: entry_hash(entry(log, version - 1).read_bytes())} if version else {}
    info = {
        "timestamp": int(datetime.now(UTC).timestamp() * 1_000),
        "operation": operation,
        "operationParameters": {},
        "engineInfo": "quant-assets",
        **metadata,
        **before,
    }
    content = msgspec.json.Encoder().encode_lines([{"commitInfo": info}, *actions])
    part = log / f"_commit_{uuid4()}.json.tmp"
    try:
        part.write_bytes(content)
        sync(part)
        os.link(part, entry(log, version))  # unlike a rename it never replaces
    except FileExistsError as error:
        raise OtherCommit(
            f"{log.parent.name}: another program committed version {version} first; run this again"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    sync(log)
    return entry_hash(content)


def create(folder: Path, schema: "Schema", partition: str, configuration: Mapping[str, str]) -> str:
    """Make an empty table. Raises OtherCommit where there is one."""
    make(folder / FOLDER)
    made = {
        "id": str(uuid4()),
        "name": None,
        "description": None,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_json(),
        "partitionColumns": [partition],
        "createdTime": int(datetime.now(UTC).timestamp() * 1_000),
        "configuration": dict(configuration),
    }
    protocol = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    return commit(folder / FOLDER, 0, "CREATE TABLE", [protocol, {"metaData": made}])


def altered(at: "DeltaTable", schema: "Schema", configuration: Mapping[str, str]) -> list[dict[str, Any]]:
    """The action that gives a table these columns and, beside its own, these settings."""
    held = at.metadata()
    changed = {
        "id": held.id,
        "name": held.name,
        "description": held.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_json(),
        "partitionColumns": held.partition_columns,
        "createdTime": held.created_time,
        "configuration": {**held.configuration, **configuration},
    }
    return [{"metaData": changed}]


def checkpoint(folder: Path) -> None:
    """Write what the log comes to as one file, so that the next reader need not go through its entries. Durable when
    it returns. Hold the table's lock.

    deltalake writes it beside the table, from links to the log: under its name there is never half of it.
    """
    from deltalake import DeltaTable

    log, scratch = folder / FOLDER, folder / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a writer that was killed
    links = scratch / FOLDER
    links.mkdir(parents=True)
    since = last_checkpoint(log)
    for path in log.iterdir():
        if path.suffix != ".tmp" and (since is None or path.name >= f"{since:020}"):
            (links / path.name).hardlink_to(path)
    at = DeltaTable(scratch)
    at.create_checkpoint()
    name = f"{at.version():020}.checkpoint.parquet"
    put(links / name, log / name)
    put(links / LAST_CHECKPOINT, log / LAST_CHECKPOINT)
    shutil.rmtree(scratch)


class _Last(msgspec.Struct):
    version: int


def last_checkpoint(log: Path) -> int | None:
    """The version that the last checkpoint holds; None where there is none."""
    try:
        return msgspec.json.decode((log / LAST_CHECKPOINT).read_bytes(), type=_Last).version
    except (FileNotFoundError, msgspec.DecodeError):
        return None
