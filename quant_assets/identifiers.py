"""Identifiers of instruments that carry a check digit, and how each scheme is written."""

import re
from collections.abc import Callable, Mapping

ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
FIGI = re.compile(r"(?!BS|BM|GG|GB|VG)[B-DF-HJ-NP-TV-Z]{2}G[B-DF-HJ-NP-TV-Z0-9]{8}[0-9]")
CONID = re.compile(r"[1-9][0-9]{0,11}")


def is_isin(text: str) -> bool:
    """Whether `text` is an ISIN with its check digit (ISO 6166: the digits of all characters by Luhn's rule)."""
    if not ISIN.fullmatch(text):
        return False
    digits = [int(d) for c in text for d in str(int(c, 36))]
    return sum(sum(divmod(d * (1 + n % 2), 10)) for n, d in enumerate(reversed(digits))) % 10 == 0


def is_figi(text: str) -> bool:
    """Whether `text` is a FIGI with its check digit (OMG FIGI 1.0: every second character of the first eleven counts
    twice, and the digits of all are summed).
    """
    if not FIGI.fullmatch(text):
        return False
    total = sum(sum(map(int, str(int(c, 36) * (1 + n % 2)))) for n, c in enumerate(text[:11]))
    return (total + int(text[11])) % 10 == 0


def is_conid(text: str) -> bool:
    """Whether `text` is a contract id of Interactive Brokers: a whole number above zero."""
    return CONID.fullmatch(text) is not None


CHECKED: Mapping[str, Callable[[str], bool]] = {"isin": is_isin, "figi": is_figi, "conid": is_conid}
"""The schemes of which an identifier can be told to be wrong by itself; any other is compared as it is written."""


def is_valid(scheme: str, identifier: str) -> bool:
    """Whether an identifier can be one of its scheme."""
    return scheme not in CHECKED or CHECKED[scheme](identifier)
