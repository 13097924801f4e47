"""Whose bars an intraday strategy reads: one of the sets on bars that the deployment declares."""

from collections.abc import Sequence

from quant_assets.errors import ConfigurationError
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, seconds_of
from quant_assets.features.sets import DAILY
from quant_assets.moments import Every
from quant_assets.strategy import Strategy


def bars_of(strategy: Strategy, declared: Sequence[OnBars]) -> OnBars | None:
    """The declaration of the bars that a strategy reads; None where it decides once a session.

    Raises ConfigurationError where no declared set, or more than one, has the strategy's feature set and calendar, or
    where its bars are of another length than its slots, or used later than they are.
    """
    moment = strategy.moment
    if not isinstance(moment, Every):
        return None
    about = f"{strategy.name} decides every {moment.minutes} minutes"
    frequency = find_set(strategy.feature_set).frequency
    if frequency == DAILY or seconds_of(frequency) != moment.minutes * 60:
        raise ConfigurationError(
            f"{about} and reads {strategy.feature_set}, which is of {'sessions' if frequency == DAILY else frequency}; "
            "name a set on bars of that length, as in price_volume_1h for every 60 minutes"
        )
    found = [b for b in declared if (b.feature_set, b.calendar) == (strategy.feature_set, strategy.calendar)]
    if len(found) != 1:
        raise ConfigurationError(
            f"{about}: {len(found)} of the sets under `bars` are {strategy.feature_set} on the calendar "
            f"{strategy.calendar}; declare one, with the venue whose bars it reads"
        )
    if found[0].delay > moment.delay:
        raise ConfigurationError(
            f"{about}, {moment.delay} seconds after a bar has ended, and its bars are used after {found[0].delay}: "
            "give `decide` that delay or a longer one"
        )
    return found[0]
