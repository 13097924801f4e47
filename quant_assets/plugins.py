"""How a team declares what it plugs in: one decorator a kind, over a class or a function that makes it.

>>> from quant_assets.plugins import learner
>>>
>>> @learner("ridge")
... class Ridge:
...     def __init__(self, alpha: float = 1.0) -> None: ...

The deployment names it, `learner: ridge` or `learner: {kind: ridge, alpha: 0.5}`, once its module is named under
`packages:` or in an entry point `quant_assets.plugins` of an installed package. docs/plug-ins.md has a page on each.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from quant_assets import plugged
from quant_assets.ports import Broker, Channel, Construction, CostModel, Label, Learner, MarketDataSource, Notifier
from quant_assets.records import PluggedSource

Made = TypeVar("Made", bound=Callable[..., Any])


def _declaring(
    kind: str, name: str, port: type | None, given: tuple[str, ...], stated: type[Any] | None = None
) -> Callable[[Made], Made]:
    methods = [m for m, v in vars(port).items() if not m.startswith("_") and callable(v)] if port else []

    def declare(make: Made) -> Made:
        plugged.declare(kind, name, make, given=given, methods=methods, stated=stated)
        return make

    return declare


def learner(name: str) -> Callable[[Made], Made]:
    """A family of models, under `model: {learner: …}` of a strategy. Raises ConfigurationError as `plugged.declare`."""
    return _declaring("learner", name, Learner, ())


def construction(name: str) -> Callable[[Made], Made]:
    """Scores to target weights, `construction:` of a strategy. Given: `strategy`."""
    return _declaring("construction", name, Construction, ("strategy",))


def broker(name: str) -> Callable[[Made], Made]:
    """A venue, `broker:` of a book.

    Given: `book`; `folder`, where it may keep what it must remember; `clock`, the wall; and for venues that are
    simulated `market` (session to its bars and actions), `cuts`, `costs`, `valued` (what its names are worth).
    """
    return _declaring("broker", name, Broker, ("book", "folder", "clock", "market", "cuts", "costs", "valued"))


def source(name: str) -> Callable[[Made], Made]:
    """Where rows come from: `source: {kind: …}`, or one of the `feeds` with the `dataset` that it brings.

    Given: `calendar`; `cache`, a folder for what was received; `clock`, the wall. Every source has the options
    `currency` and `dataset`.
    """
    return _declaring("source", name, MarketDataSource, ("calendar", "cache", "clock"), PluggedSource)


def dataset(name: str) -> Callable[[Made], Made]:
    """A table of what vendors report, over a function that makes its `Dataset`; a feed names it."""
    return _declaring("dataset", name, None, ())


def label(name: str) -> Callable[[Made], Made]:
    """What a model learns of the returns within the horizon, `label: {horizon: …, by: …}` of a strategy."""
    return _declaring("label", name, Label, ())


def costs(name: str) -> Callable[[Made], Made]:
    """What trading costs where fills are simulated, `costs:` of a book."""
    return _declaring("costs", name, CostModel, ())


def check(name: str) -> Callable[[Made], Made]:
    """A question about the bars of a session, over a function that makes its `Rule`; `checks:` of the deployment."""
    return _declaring("check", name, None, ())


def notifier(name: str) -> Callable[[Made], Made]:
    """Who is notified at once beside the home's own log and queue, `notifiers:` of the deployment. Given: `home`."""
    return _declaring("notifier", name, Notifier, ("home",))


def channel(name: str) -> Callable[[Made], Made]:
    """A way by which notices leave the queue after the work is done, `channels:` of the deployment."""
    return _declaring("channel", name, Channel, ())
