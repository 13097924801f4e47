"""Formats of vendor files that no column mapping can express, by the name that a feed gives.

A layout reads one file: it is given that file, the folder that its rows name it from, and the feed's files before it (a
list of members shows who left only beside the list before). It returns the dataset's columns except those of the feed's
constants, file, line, and if there are such label, known_at, withdrawn, fault and content.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from resources.sources.layouts import databento, lean, membership, pystock

Layout = Callable[[Path, Path, Sequence[Path]], pl.DataFrame]

LAYOUTS: Mapping[str, Layout] = {
    "lean_bars": lean.bars,
    "lean_funding": lean.funding,
    "lean_payments": lean.payments,
    "spells": membership.spells,
    "changes": membership.changes,
    "lists": membership.lists,
    "lists_and_changes": membership.lists_and_changes,
    "databento_actions": databento.actions,
    "listing_spans": pystock.listings,
}
