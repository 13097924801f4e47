"""Feast's answer to the point-in-time benchmark, from its DuckDB offline store: history.py FOLDER VIEWS DAYS FILTERED
THREADS [RESULT].

Runs in its own environment (requirements.txt) and reads the spine and the views that the benchmark left in FOLDER. DAYS
is the views' time to live, 0 for none; FILTERED is 1 for `filter_by_created_timestamp`. Prints the measurement as one
line of JSON.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false
# the peer's packages stand in its own environment only

import json
import os
import resource
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

os.environ["FEAST_USAGE"] = "False"  # a benchmark calls nobody
warnings.simplefilter("ignore")

import ibis  # noqa: E402  # after the settings
import pandas as pd  # noqa: E402  # as above
import pyarrow as pa  # noqa: E402  # as above
import pyarrow.parquet as pq  # noqa: E402  # as above
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402  # as above
from feast.types import Float64  # noqa: E402  # as above

VALUES = ("v0", "v1", "v2")


def opened(folder: Path, count: int, days: int) -> FeatureStore:
    """A feature store in `folder` that knows the views."""
    registry, online = str(folder / "registry.db"), {"type": "sqlite", "path": str(folder / "online.db")}
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=registry,
            offline_store={"type": "duckdb"},
            online_store=online,
            entity_key_serialization_version=3,
            repo_path=str(folder),
        )
    )
    entity, schema = (
        Entity(name="sid", join_keys=["sid"], value_type=ValueType.INT64),
        [Field(name=v, dtype=Float64) for v in VALUES],
    )
    sources = [
        FileSource(
            path=str(folder / f"view{i}.parquet"), timestamp_field="session", created_timestamp_column="known_at"
        )
        for i in range(count)
    ]
    store.apply(
        [
            entity,
            *(
                FeatureView(
                    name=f"view{i}", entities=[entity], ttl=timedelta(days=days), schema=schema, source=s, online=False
                )
                for i, s in enumerate(sources)
            ),
        ]
    )
    return store


def main(folder: Path, count: int, days: int, filtered: int, threads: int, *, result: Path | None) -> None:
    """Measure one retrieval; write its rows to `result` where asked."""
    pa.set_cpu_count(threads)
    ibis.get_backend().con.execute(f"SET threads = {threads}")
    store = opened(folder, count, days)
    spine = pd.read_parquet(folder / "spine.parquet").rename(columns={"ts": "event_timestamp"})
    features = [f"view{i}:{v}" for i in range(count) for v in VALUES]
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    found = store.get_historical_features(
        entity_df=spine, features=features, full_feature_names=True, filter_by_created_timestamp=bool(filtered)
    ).to_arrow()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    peak = next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(
        json.dumps(
            {
                "wall": wall,
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "peak": peak / 1024,
            }
        )
    )
    if result:
        pq.write_table(found.rename_columns([c.replace("__", "_") for c in found.column_names]), result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:6]), result=Path(sys.argv[6]) if len(sys.argv) > 6 else None)
