"""Conformance suites: the laws of each port, for a team's own tests with one import.

>>> from quant_assets.testing import conforms
>>>
>>> def test_my_learner():
...     conforms("learner", Ridge)

`conforms` tries every law of the kind and raises DoesNotConform with each that is broken. `make` gives a fresh plug-in:
its class, or a function without arguments.
"""

from collections.abc import Callable, Mapping
from typing import Any

from quant_assets.testing import data, models, notices, trading

Law = Callable[..., None]

LAWS: Mapping[str, Mapping[str, Law]] = {**data.LAWS, **models.LAWS, **notices.LAWS, **trading.LAWS}
"""The laws by kind and name; the docstring of each is what must hold."""


class DoesNotConform(AssertionError):
    """A plug-in breaks laws of its port."""


def broken_laws(kind: str, make: Callable[[], Any], **known: Any) -> dict[str, str]:
    """What is broken, by law: a sentence each, with what the plug-in gave.

    `known`: what a law must know of this one plug-in (see docs/plug-ins.md). Raises KeyError for a kind without laws.
    """
    found: dict[str, str] = {}
    for name, law in LAWS[kind].items():
        try:
            law(make, **known)
        except Exception as error:  # noqa: BLE001  # whatever a plug-in raises breaks the law that was tried
            what = str(error) if isinstance(error, AssertionError) else f"it raised {type(error).__name__}: {error}"
            found[name] = f"{' '.join((law.__doc__ or name).split())} {what}".strip()
    return found


def conforms(kind: str, make: Callable[[], Any], **known: Any) -> None:
    """Try every law of the kind. Raises DoesNotConform with each that is broken."""
    if found := broken_laws(kind, make, **known):
        lines = "\n".join(f"- {name}: {sentence}" for name, sentence in found.items())
        raise DoesNotConform(f"{len(found)} of {len(LAWS[kind])} laws of a {kind} are broken:\n{lines}")
