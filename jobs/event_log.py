"""Dagster's SQLite storage with its connections kept open and one file for the events of all runs.

Dagster's own opens a connection for every statement, commits every event alone, and makes a file of 0.3 MB for each
run. A day of four runs spends a third of its CPU on that; a range of sessions, most of it.
"""

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self
from weakref import WeakSet

from dagster._core.event_api import EventHandlerFn, EventLogRecord, EventRecordsFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig
from dagster._serdes import ConfigurableClassData
from filelock import FileLock
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection

KEPT = 4  # idle connections to one file; while more threads than that ask at once, more are opened


class Connections:
    """The connections of this process to one SQLite file. A connection serves one thread at a time, no forked child."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            url, pool_size=KEPT, max_overflow=-1, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        self._open = threading.local()
        _ALL.add(self)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """A transaction, committed at the end: the one that this thread has open, else a new one."""
        within: Connection | None = getattr(self._open, "connection", None)
        if within is not None:
            yield within
            return
        with self._engine.begin() as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    def close(self) -> None:
        """Close what is idle. The next transaction opens a new connection."""
        self._engine.dispose()

    def forget(self) -> None:
        """Leave the parent's connections to the parent: SQLite forbids a child to use or close them."""
        self._engine.dispose(close=False)
        self._open = threading.local()


_ALL: WeakSet[Connections] = WeakSet()


def _before_fork() -> None:
    for each in list(_ALL):
        each.close()


def _in_child() -> None:
    for each in list(_ALL):
        each.forget()


os.register_at_fork(before=_before_fork, after_in_child=_in_child)


class EventLog(SqliteEventLogStorage):
    """The events of all runs in the file in which Dagster keeps the asset events of all runs (`index.db`).

    A run that Dagster's own storage recorded in a file of its own is still read there, and goes on there.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._connections = Connections(create_db_conn_string(base_dir, INDEX_SHARD_NAME))
        self._watcher = SqlPollingEventWatcher(self)
        self._tables: set[str] = set()
        self._indexed = False
        super().__init__(base_dir, inst_data)

    @contextmanager
    def index_connection(self) -> Generator[Connection]:
        """A transaction on the one file, which is made first where it is missing or half made."""
        if INDEX_SHARD_NAME not in self._initialized_dbs:
            with super()._connect(INDEX_SHARD_NAME):
                pass
        with self._connections.begin() as connection:
            yield connection

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction on the file that has the events of a run."""
        return super()._connect(run_id) if run_id and self._has_own_file(run_id) else self.index_connection()

    def _has_own_file(self, run_id: str) -> bool:
        return Path(self.path_for_shard(run_id)).exists()

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event and what follows from it for assets and checks: all or nothing."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events, in order, in one transaction."""
        with self.index_connection():
            for event in events:
                if event.run_id and self._has_own_file(event.run_id):
                    super().store_event(event)
                else:
                    SqlEventLogStorage.store_event(self, event)

    def get_event_records(
        self, event_records_filter: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> Sequence[EventLogRecord]:
        """Events of all runs, by storage id. Of runs with a file of their own, only those on assets."""
        return SqlEventLogStorage.get_event_records(self, event_records_filter, limit, ascending)

    @property
    def is_run_sharded(self) -> bool:
        """No: a cursor is a storage id."""
        return False

    def has_table(self, table_name: str) -> bool:
        """Whether the file has a table; asked once of each that it has."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_index_cols_on_connection(self, conn: Connection) -> bool:
        self._indexed = self._indexed or super()._has_asset_key_index_cols_on_connection(conn)
        return self._indexed

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back on new events of a run. It polls: a commit in WAL mode does not change the database file itself."""
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        """Stop calling back."""
        self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Stop watching and close the connections."""
        self._watcher.close()
        self._connections.close()


class Runs(SqliteRunStorage):
    """The records of runs, on kept connections."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._connections = Connections(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """A transaction."""
        with self._connections.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the connections."""
        self._connections.close()


class HomeStorage(DagsterSqliteStorage):
    """What dagster.yaml names: the files lie where Dagster's own SQLite storage has them, under `base_dir`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        history = Path(base_dir) / "history"
        with FileLock(
            Path(base_dir) / ".opening.lock"
        ):  # two that make the files at once would fail in each other's way
            super().__init__(base_dir, inst_data)
            self._run_storage = Runs.from_local(str(history))
            self._event_log_storage = EventLog(str(history / "runs"))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: SqliteStorageConfig) -> Self:
        """From the `config` of dagster.yaml."""
        return cls.from_local(inst_data=inst_data, **config_value)
