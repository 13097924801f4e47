"""Acts of people as a chain of hashes: each act's hash covers it and the hash before it, so none can be changed,
deleted, moved or put in between without a trace. What was cut off at the end is found by heads that are kept elsewhere.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.errors import QuantError
from quant_assets.ports import Audit, Notifier, Store
from quant_assets.records import Frozen
from quant_assets.tables import ACT_HEADS

FIELDS = ("at", "act", "subject", "by", "reason")
BEGINNING = "0" * 64  # what the first act follows
REPLACING = ("restore", "ledger anew")  # acts that put another record in the place of one that was lost
_BEFORE = "heads kept up to {session} are of the record before"
_OF_BEFORE = re.compile(_BEFORE.format(session=r"(\d{4}-\d\d-\d\d)") + "$")


class Head(Frozen, frozen=True):
    """The end of the chain as it was once: `acts`, how many there were, and `hash`, that of the last one.

    `session`: of whose day it is; None where a person names it.
    """

    acts: int
    hash: str
    session: date | None = None


class Fault(Frozen, frozen=True):
    """What is wrong with the record of acts: `place`, the first act that it concerns, counted from 1, and a sentence.

    `sentence` names the place and what may have been done.
    """

    place: int
    sentence: str


def chained(previous: str, act: Mapping[str, object]) -> str:
    """The hash of an act that follows the one with the hash `previous`: SHA-256, 64 hex digits."""
    return hashlib.sha256(msgspec.json.encode((previous, *(act[f] for f in FIELDS)))).hexdigest()


def head(acts: Sequence[Mapping[str, str]]) -> Head:
    """The end of the chain of `acts`, oldest first, with what is stored as its hash."""
    return Head(len(acts), acts[-1]["hash"] if acts else BEGINNING)


def verify(acts: Sequence[Mapping[str, str]], heads: Sequence[Head] = ()) -> list[Fault]:
    """What is wrong with `acts` (at, act, subject, by, reason, hash; oldest first); nothing where all is as it was
    written.

    `heads`: ends of the chain that were kept elsewhere; those of a record that an act replaced are passed over. Of a
    broken chain only its first break is named.
    """
    found: list[Fault] = []
    previous = BEGINNING
    for place, act in enumerate(acts, 1):
        if act["hash"] != chained(previous, act):
            about = f"act {place} ({act['act']!r} by {act['by']} at {act['at']})"
            found.append(
                Fault(
                    place,
                    f"{about} does not follow from the one before it: it was changed, or one was deleted, moved or put "
                    "in between",
                )
            )
            break
        previous = act["hash"]
    since = _replaced(acts)
    asked = [h for h in heads if since is None or h.session is None or h.session > since]
    return found + [fault for kept in asked if (fault := _against(acts, kept))]


def replacing(store: Store) -> str:
    """What the subject of an act that replaces a lost record has to add: which heads are of the record before. Empty
    where none is kept, or none can be read.
    """
    try:
        heads = kept_heads(store)
    except QuantError:  # a damaged table must not keep anybody from restoring
        return ""
    return "; " + _BEFORE.format(session=heads[-1].session) if heads else ""


def _replaced(acts: Sequence[Mapping[str, str]]) -> date | None:
    """The last session whose head is of a record that an act replaced."""
    found = [_OF_BEFORE.search(act["subject"]) for act in acts if act["act"] in REPLACING]
    return max((date.fromisoformat(match[1]) for match in found if match), default=None)


def _against(acts: Sequence[Mapping[str, str]], kept: Head) -> Fault | None:
    """What a kept head contradicts, if anything."""
    of = f"the head kept for {kept.session}" if kept.session else "the head given"
    if len(acts) < kept.acts:
        return Fault(
            len(acts) + 1, f"{of} counts {kept.acts} act(s), the record has {len(acts)}: the last were cut off"
        )
    found = acts[kept.acts - 1]["hash"] if kept.acts else BEGINNING
    if found == kept.hash:
        return None
    return Fault(kept.acts, f"{of} has {kept.hash} as act {kept.acts}, the record {found}: acts were rewritten")


def holds(acts: Sequence[Mapping[str, str]], hash_: str) -> bool:
    """Whether the chain still has the head that a person kept as its hash alone."""
    return hash_ == BEGINNING or any(act["hash"] == hash_ for act in acts)


def kept_heads(store: Store) -> list[Head]:
    """The ends of the chain that the reports of sessions kept, oldest first."""
    rows = store.read(ACT_HEADS, as_of=None).select("acts", "hash", "session")
    return [Head(*row) for row in rows.iter_rows()]


def keep_head(store: Store, audit: Audit, cuts: Cuts, session: date, notifier: Notifier) -> Head:
    """The end of the chain of acts, kept with `session` once the chain is verified.

    A broken chain is not kept; a critical notice names what is wrong.
    """
    acts = audit.acts()
    end = head(acts)
    if faults := verify(acts, kept_heads(store)):
        notifier.notify("critical", "The record of acts was changed", "\n".join(f.sentence for f in faults))
        return end
    row = {"session": session, "acts": end.acts, "hash": end.hash, "known_at": cuts.of(session)}
    of_session = store.read(ACT_HEADS, as_of=None, first=session, last=session)
    if end.acts in of_session["acts"]:
        return end
    store.append(ACT_HEADS, pl.DataFrame([row], schema=dict(ACT_HEADS.schema)))
    return end
