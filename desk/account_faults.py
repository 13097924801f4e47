"""What must hold between books that name one account, so that their orders can leave together."""

from typing import Any

from desk.document.reading import Reading
from quant_assets.records import RESEARCH

ALIKE = {"broker": RESEARCH, "currency": "USD", "quoted": None, "costs": None}
"""What is of the account itself, and what it is where a book declares none: its books have the same."""


def account_faults(found: Reading) -> None:
    """Books of one account have one venue and currency and trade at one moment, and none is called like it, for its own
    record is kept under that name.
    """
    first_of: dict[str, tuple[str, dict[str, Any]]] = {}
    shared: dict[str, str] = {}
    books = found.partly("books")
    moments = {s.name: (s.calendar, s.moment) for s in found.each("strategies").values()}
    for path, book in books.items():
        if (account := book.get("account")) is None:
            continue
        first, other = first_of.setdefault(account.lower(), (path, book))
        if first == path:
            continue
        shared[account] = first
        for fault in _differences(account, book, first, other, moments):
            _fault(found, f"{path}.account", fault)
    for path, book in books.items():
        name = book.get("name", "")
        if at := next((first for account, first in shared.items() if account.lower() == name.lower()), None):
            what = f"a book is called like the account {name}, which several books share from {at} on; change one"
            _fault(found, f"{path}.name", what)


def _differences(
    account: str, book: dict[str, Any], first: str, other: dict[str, Any], moments: dict[str, Any]
) -> list[str]:
    """Why two books cannot share an account: the first reason."""
    too = f"{first} trades the account {account} too"
    if account != other["account"]:
        return [f"{account} differs from the account of {first} in capitals alone; change one"]
    if key := next((k for k, unset in ALIKE.items() if book.get(k, unset) != other.get(k, unset)), None):
        return [f"{too}, and has another {key}: books of one account agree in it; change one"]
    if moments.get(book.get("strategy", "")) != moments.get(other.get("strategy", "")):
        return [f"{too}, at another moment or calendar: books of one account trade at the same; give each its own"]
    return []


def _fault(found: Reading, path: str, what: str) -> None:
    if not found.wrong(path):
        found.fault(path, what)
