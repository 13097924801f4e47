"""What a stage of the day is; `quant_assets.chain` lists them in order."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature

from quant_assets.records import StageReport
from quant_assets.stopping import whole


@dataclass(frozen=True)
class Stage:
    """A step of the day.

    `reads` and `writes`: tables by name; it may also read what it writes. `features_*` and `datasets_*` are the tables
    of all sets and datasets, `vendor` and `venue` what is outside, `outbox`, `executions`, `breaks` and `facts` what
    the ledger holds, `pages` the reports.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    function: Callable[..., Iterable[StageReport]]
    place: int = 0  # in the chain

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The arguments without which the stage cannot run."""
        given = signature(self.function).parameters.values()
        return tuple(p.name for p in given if p.default is Parameter.empty)

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """All arguments of the stage, by name."""
        return tuple(signature(self.function).parameters)

    def run(self, ports: Mapping[str, object]) -> Iterator[StageReport]:
        """Run the stage with those of `ports` that it takes. Raises TypeError where one that it needs is missing, and
        Stopped, before it or after it, where a signal asks for it.
        """
        with whole():
            yield from self.function(**{name: ports[name] for name in self.takes if name in ports})


Stages = Mapping[str, Stage]
"""Stages by name, in the order of the chain."""
