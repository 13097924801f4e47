"""One book's trouble is its own: it is reported, a person is notified, and the other books go on."""

from collections.abc import Callable
from datetime import date
from traceback import format_exception

import msgspec

from quant_assets.errors import HomeDamaged, QuantError
from quant_assets.ports import Notifier
from quant_assets.records import Book, StageReport

FAILED = "books_failed"  # the number that makes a run end as blocked


def apart(stage: str, book: Book, session: date, notifier: Notifier, work: Callable[[], StageReport]) -> StageReport:
    """What `work` reports of the book; where it raises, a refusal of this book with the reason, and a critical notice.
    Raises HomeDamaged alone.

    The notice on an error that is not our own has its traceback, for it is a fault of the program.
    """
    try:
        return msgspec.structs.replace(work(), book=book.name)
    except HomeDamaged:
        raise  # every book's trouble: nothing is done until the home is whole
    except Exception as error:  # noqa: BLE001  # whatever broke, the other books go on
        why = f"{type(error).__name__}: {error}"
        body = why if isinstance(error, QuantError) else "".join(format_exception(error))
        notifier.notify("critical", f"{book.name}: the stage {stage} of {session} failed", body)
        return msgspec.structs.replace(waits(stage, book, session, why), numbers={FAILED: 1.0})


def waits(stage: str, book: Book, session: date, why: str) -> StageReport:
    """The report on a book of which an earlier stage is missing. Nobody is notified again: that stage was reported."""
    return StageReport(
        stage=stage, first=session, last=session, state="refused", reason=f"{book.name}: {why}", book=book.name
    )
