"""The machine under a home: who may read it, space, clock, locks; the small files; and when it was last backed up."""

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from filelock import FileLock, Timeout

from desk.backup.manifest import last_backup
from desk.backup.swap import ASIDE, pending
from desk.health.check import FAIL, OK, WARN, Check
from desk.ledger import TABLES, VENUES
from desk.lock import LOCK
from quant_assets.errors import QuantError
from resources.ledger.open import FILE, Ledger
from resources.telemetry import read_heartbeat

LITTLE, LEAST = 2 << 30, 200 << 20  # bytes free: to be looked at, and too few for a day
SKEW = timedelta(minutes=2)
OLD = timedelta(days=2)


def private(home: Path) -> Iterator[Check]:
    """Whether anybody but the owner may look into the home."""
    paths = (home, home / FILE, *(home / VENUES).glob("*.sqlite"), home / TABLES)
    shown = [p for p in paths if p.exists() and stat.S_IMODE(p.stat().st_mode) & 0o077]
    if home in shown:  # a folder that is closed closes what is in it
        found = f"others may look in: {', '.join(f'{p.name} {stat.S_IMODE(p.stat().st_mode):04o}' for p in shown)}"
        yield Check("permissions", WARN, found, f"chmod -R go= {home}")
    else:
        yield Check("permissions", OK, "the home is its owner's alone")


def space(home: Path) -> Iterator[Check]:
    """Whether the home can be written, and how much fits."""
    free = shutil.disk_usage(home).free
    if not os.access(home, os.W_OK) or os.statvfs(home).f_flag & os.ST_RDONLY:
        yield Check("disk", FAIL, f"{home} cannot be written", "mount it for writing, or give it to this user")
    elif free < LEAST:
        yield Check("disk", FAIL, f"{free:,} bytes are free, a day needs {LEAST:,}", "quant storage vacuum")
    else:
        state = WARN if free < LITTLE else OK
        yield Check("disk", state, f"{free / (1 << 30):.1f} GB are free", "" if state == OK else "quant storage vacuum")


def clock(home: Path, ledger: Ledger | None, zone: str, *, live: bool, now: datetime) -> Iterator[Check]:
    """Whether the wall's clock has gone back behind what was stored by it."""
    stored = {"the last commit of a table": _last_commit(home)}
    if ledger:
        stored["the last act of a person"] = max((_time(a["at"]) for a in ledger.audit.acts()), default=None)
        stored["the last cut that was read"] = ledger.knowledge.latest_cut() if live else None
    try:
        beat = read_heartbeat(home / "heartbeat.json")
        stored["the last run"] = beat.ts if beat and live else None
    except QuantError:
        pass  # reported with the small files
    latest = max(((at, what) for what, at in stored.items() if at), default=None)
    try:
        local = now.astimezone(ZoneInfo(zone))
    except (OSError, ValueError, KeyError) as error:
        yield Check("clock", FAIL, f"the time zone {zone} is unknown here ({error})", "install tzdata")
        return
    if latest and latest[0] > now + SKEW:
        found = f"the clock shows {now:%Y-%m-%d %H:%M} UTC, {latest[1]} is of {latest[0]:%Y-%m-%d %H:%M} UTC"
        yield Check("clock", FAIL, found, "timedatectl set-ntp true  # then run quant doctor again; run nothing before")
    else:
        yield Check("clock", OK, f"{now:%Y-%m-%d %H:%M:%S} UTC, {local:%H:%M} in {zone}; nothing stored is later")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _last_commit(home: Path) -> datetime | None:
    entries = [p.stat().st_mtime for p in (home / TABLES).glob("*/_delta_log/*.json")]
    return datetime.fromtimestamp(max(entries), UTC) if entries else None


def locks(home: Path) -> Iterator[Check]:
    """Whether a run holds the home's lock now. A lock file alone is none: the system drops a lock with its process."""
    if pending(home):
        yield Check("restore", FAIL, "a restore was stopped in the middle", "run the same quant restore again")
    if not (home / LOCK).exists():
        return
    try:
        with FileLock(home / LOCK).acquire(timeout=0):
            yield Check("locks", OK, "no run holds the home")
    except Timeout:
        yield Check("locks", WARN, "a run works on the home now: what it is writing may show as a fault", "")
    except OSError as error:
        yield Check("locks", FAIL, f"{LOCK} cannot be locked ({error})", f"rm {home / LOCK}")


def small_files(home: Path) -> Iterator[Check]:
    """The heartbeat and the log of notifications."""
    try:
        read_heartbeat(home / "heartbeat.json")
    except (QuantError, OSError) as error:
        yield Check("heartbeat", FAIL, str(error), f"rm {home / 'heartbeat.json'}")
    log = home / "notifications.jsonl"
    try:
        lines = log.read_bytes().splitlines() if log.exists() else []
    except OSError as error:
        yield Check("notifications", FAIL, str(error), f"mv {log} {log}.damaged")
        return
    if bad := [n for n, line in enumerate(lines, 1) if not _is_json(line)]:
        found = f"line {bad[0]} and {len(bad) - 1} more of {log.name} are no JSON"
        yield Check("notifications", WARN, found, f"mv {log} {log}.damaged")


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def backups(home: Path, now: datetime) -> Iterator[Check]:
    """How old the last backup is, and what earlier restores left."""
    last = last_backup(home)
    if last is None:
        yield Check("backup", WARN, "none is known", "quant backup --to FOLDER")
    elif not (Path(last.folder) / f"{last.name}.json").exists():
        yield Check("backup", WARN, f"{last.name} is no longer in {last.folder}", "quant backup --to FOLDER")
    else:
        age = now - last.at
        found = f"{last.name} in {last.folder}, {age.days} days old"
        yield Check("backup", WARN if age > OLD else OK, found, "quant backup" if age > OLD else "")
    for aside in sorted(home.glob(f"{ASIDE}*")):
        size = sum(p.stat().st_size for p in aside.rglob("*") if p.is_file())
        yield Check(
            "restored", WARN, f"{aside.name} keeps what was there before a restore, {size:,} bytes", f"rm -r {aside}"
        )
