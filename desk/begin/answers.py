"""What a person answers by `--set KEY=VALUE`: keys of the source, and what the deployment is to be fitted to."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from quant_assets.calendars.venues import codes
from quant_assets.currencies import CURRENCIES, HUNDREDTHS
from quant_assets.errors import ConfigurationError

FIELDS = ("symbol", "session", "open", "high", "low", "close", "volume", "adj_close", "label")
NOTATION = ("format", "tz", "unit", "decimal", "scale")
SOURCE = ("known_at", "tz", "decimal", "delimiter", "encoding", "currency")
FITTED = ("calendar", "start")


def pairs(written: Sequence[str]) -> dict[str, str]:
    """The answers by key. Raises ConfigurationError for what is no KEY=VALUE, or given twice."""
    found: dict[str, str] = {}
    for one in written:
        key, equals, value = one.partition("=")
        if not (key and equals and value):
            raise ConfigurationError(f"--set {one}: write KEY=VALUE, such as mapping.session.format=%d/%m/%Y")
        if key in found:
            raise ConfigurationError(f"--set {key} is given twice; give it once")
        found[key] = value
    return found


def refuse_unknown(answers: Mapping[str, str]) -> None:
    """Raises ConfigurationError for a key that nothing reads, or a calendar, currency or day that does not exist."""
    for key in answers:
        first, *rest = key.split(".")
        mapped = first == "mapping" and len(rest) in {1, 2} and rest[0] in FIELDS and set(rest[1:]) <= set(NOTATION)
        if not mapped and key not in (*SOURCE, *FITTED):
            raise ConfigurationError(
                f"--set {key}: there is no such key; there are {', '.join((*FITTED, *SOURCE))}, mapping.FIELD and "
                f"mapping.FIELD.KEY, with FIELD one of {', '.join(FIELDS)} and KEY one of {', '.join(NOTATION)}"
            )
    if (code := answers.get("calendar", "XNYS")) not in codes():
        raise ConfigurationError(f"--set calendar={code}: no calendar has this code; there are {', '.join(codes())}")
    if (currency := answers.get("currency", "USD")) not in (*CURRENCIES, *HUNDREDTHS):
        raise ConfigurationError(f"--set currency={currency}: no currency has this code; write one such as EUR")
    try:
        date.fromisoformat(answers.get("start", "2000-01-01"))
    except ValueError as error:
        raise ConfigurationError(f"--set start={answers['start']}: write a day as YYYY-MM-DD") from error


def source_answers(answers: Mapping[str, str]) -> dict[str, Any]:
    """The answers that are keys of the source; its mapping by field, as a column's keys."""
    given: dict[str, Any] = {k: v for k, v in answers.items() if k in SOURCE}
    mapping: dict[str, dict[str, str]] = {}
    for key, value in answers.items():
        first, *rest = key.split(".")
        if first == "mapping":
            mapping.setdefault(rest[0], {})[rest[1] if len(rest) > 1 else "column"] = value
    return given | ({"mapping": mapping} if mapping else {})
