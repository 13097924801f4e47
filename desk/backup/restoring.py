"""Restores a home, or files of it, from a backup: every byte is verified before anything of the home is touched."""

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from desk.backup.manifest import Entry, Manifest, chosen, load, object_path
from desk.backup.swap import ASIDE, STAGE, Plan, begin, finish, pending, stage_of
from desk.ledger import TABLES, held_without_ledger
from desk.lock import LOCK, WANTED, only_run
from quant_assets import durable
from quant_assets.acts import replacing
from quant_assets.errors import ConfigurationError, HomeDamaged, QuantError
from quant_assets.ports import Progress, quiet
from quant_assets.records import Act, Frozen, Switch
from resources.ledger import migrate
from resources.ledger.audit import SqliteAudit
from resources.ledger.database import PRIVATE_FILE, PRIVATE_FOLDER, Database
from resources.ledger.kill_switch import SqliteKillSwitch
from resources.ledger.open import FILE, open_ledger
from resources.ledger.processes import users_of
from resources.tables.store import DeltaStore

CHUNK = 1 << 20
_BESIDE_DATABASE = ("-wal", "-shm", "-journal")


class Restored(Frozen, frozen=True):
    """What was restored: the backup, the number of files put in place, where those before are kept, and the switches
    that are on now.
    """

    backup: str
    files: int
    aside: str
    on: tuple[Switch, ...]


def restore(
    home: Path, folder: Path, at: str | None, only: Sequence[str], act: Act, progress: Progress = quiet
) -> Restored:
    """Restore the home as it was in the newest backup not after `at`, or `only` some of its files and folders.

    Restored whole, the home is as the backup. Of a folder named by `only`, files that are missing or differ are put
    back, and newer ones stay. What is replaced is kept in the home, under `.before-…`. A restore that was stopped in
    the middle is finished first, and nothing else is done.

    Raises ConfigurationError where there is no such backup or file, or where another process has the home open,
    HomeDamaged where the backup is not as it was written.
    """
    durable.make(home)
    with only_run(home):
        _alone(home)
        plan = pending(home)
        if plan is None:
            manifest = load(folder, chosen(folder, at))
            plan = _staged(home, folder, manifest, only, act, progress)
            begin(home, plan)
        finish(home)
    return Restored(backup=plan.backup, files=len(plan.puts), aside=plan.aside, on=_on(home / FILE))


def _alone(home: Path) -> None:
    if users := users_of(home):
        raise ConfigurationError(
            f"process {users[0]} has files of {home} open (a daemon, `quant ui` or a notebook): it would go on writing "
            "into the files of before. Stop it, then run this again"
        )


def _staged(home: Path, folder: Path, manifest: Manifest, only: Sequence[str], act: Act, progress: Progress) -> Plan:
    """Copy the wanted files beside the home's, each verified, and the act into the ledger that will be in force."""
    stage = stage_of(home)
    if stage.exists():
        shutil.rmtree(stage)  # of a restore that was stopped before it touched the home
    stage.mkdir(mode=PRIVATE_FOLDER)
    wanted = _wanted(home, manifest, only)
    for done, entry in enumerate(wanted):
        progress(done, len(wanted), entry.path)
        _copy(object_path(folder, entry.sha256), entry, stage / entry.path)
    folders = {stage, *(p for e in wanted for p in (stage / e.path).parents if p.is_relative_to(stage))}
    durable.sync(*sorted(folders))
    subject = f"{manifest.name}: {', '.join(only) or 'the whole home'}, {len(wanted)} files"
    if (stage / FILE).exists():
        subject += replacing(DeltaStore(home / TABLES)) if only else ""
        _carry_over(stage / FILE, _on(home / FILE), subject, act)
    elif not held_without_ledger(home):
        open_ledger(home).audit.record("restore", subject, by=act.by, reason=act.reason, now=act.at)
    aside = f"{ASIDE}{act.at:%Y%m%dT%H%M%SZ}"
    if not only:
        kept = {LOCK, WANTED, STAGE}
        present = sorted(p.name for p in home.iterdir() if p.name not in kept and not p.name.startswith(ASIDE))
        puts = sorted(p.name for p in stage.iterdir())
        return Plan(backup=manifest.name, aside=aside, puts=tuple(puts), moves=tuple(present))
    puts = [e.path for e in wanted]
    moves = [*puts, *(f"{p}{end}" for p in puts for end in _BESIDE_DATABASE if p.endswith((".sqlite", ".db")))]
    return Plan(backup=manifest.name, aside=aside, puts=tuple(puts), moves=tuple(moves))


def _wanted(home: Path, manifest: Manifest, only: Sequence[str]) -> list[Entry]:
    if not only:
        return list(manifest.entries)
    wanted: list[Entry] = []
    for name in only:
        inside = [e for e in manifest.entries if e.path == name or e.path.startswith(f"{name.rstrip('/')}/")]
        if not inside:
            raise ConfigurationError(f"backup {manifest.name} has no file or folder {name!r}; name it from the home on")
        wanted += [e for e in inside if e.path == name or not _is_whole(home / e.path, e)]
    return wanted


def _is_whole(path: Path, entry: Entry) -> bool:
    return (
        path.is_file() and path.stat().st_size == entry.size and sha256(path.read_bytes()).hexdigest() == entry.sha256
    )


def _copy(source: Path, entry: Entry, to: Path) -> None:
    """Copy a file of the backup, durably. Raises HomeDamaged where it is not what the manifest names."""
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = sha256()
    if there := source.exists():
        with source.open("rb") as content, to.open("wb") as copy:
            while piece := content.read(CHUNK):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
    if not there or digest.hexdigest() != entry.sha256:
        raise HomeDamaged(
            f"{source}: this file of the backup, {entry.path}, is missing or has other bytes than were stored; nothing "
            "of the home was touched. Take another backup with --at"
        )
    to.chmod(PRIVATE_FILE)
    if entry.modified:
        os.utime(to, ns=(entry.modified, entry.modified))  # a page without named versions cites by its time


def _carry_over(ledger: Path, on: Sequence[Switch], subject: str, act: Act) -> None:
    """Record the act in the staged ledger; a kill switch that is on now is on there too."""
    if migrate.outdated(ledger):
        migrate.upgrade(ledger)
    database = Database(ledger)
    switches = SqliteKillSwitch(database)
    held = {s.scope for s in switches.listed() if s.on}
    for switch in on:
        if switch.scope not in held:
            switches.set(True, scope=switch.scope, by=act.by, reason=switch.reason, now=act.at)
    SqliteAudit(database).record("restore", subject, by=act.by, reason=act.reason, now=act.at)
    database.close()
    for end in _BESIDE_DATABASE:
        ledger.with_name(f"{ledger.name}{end}").unlink(missing_ok=True)


def _on(ledger: Path) -> tuple[Switch, ...]:
    """The switches that are on in a ledger; none where it cannot be read."""
    if not ledger.exists() or not ledger.stat().st_size:
        return ()
    try:
        database = Database(ledger)
        found = tuple(s for s in SqliteKillSwitch(database).listed() if s.on)
        database.close()
    except QuantError:
        return ()
    return found
