"""The learners, by the family of the models that they make."""

from collections.abc import Mapping

from quant_assets.errors import ConfigurationError
from quant_assets.models.boosting import LightGBM
from quant_assets.ports import Learner

LIGHTGBM = LightGBM()
LEARNERS: Mapping[str, Learner] = {LIGHTGBM.family: LIGHTGBM}


def find_learner(family: str) -> Learner:
    """The learner of a family. Raises ConfigurationError with the families that exist."""
    if family not in LEARNERS:
        raise ConfigurationError(f"no learner makes models of family {family!r}; there are {sorted(LEARNERS)}")
    return LEARNERS[family]
