"""A strategy is one declaration: what it looks at, how it thinks, when it decides, what it may do."""

from collections.abc import Mapping

import msgspec

from quant_assets.records import Frozen, content_id


class Eligibility(Frozen, frozen=True, omit_defaults=True):
    """What a name must satisfy beside price and liquidity, all as known at the cut. What is not known of a name makes it ineligible where it is asked for."""

    index: tuple[str, ...] = ()  # a member of one of these indices
    min_sessions: int = 0  # listed for so many sessions that we know of
    min_dollar_volume: float = 0.0  # median over the rule's lookback
    exclude_sectors: tuple[str, ...] = ()
    sector_scheme: str = ""  # whose sectors these are (table `sectors`); "": the listing's own


class UniverseRule(Frozen, frozen=True):
    """The `size` most liquid names (median dollar volume over `lookback` sessions, raw close ≥ `min_price`), chosen at each month's first session.

    `eligible`: further conditions. Unset it is no part of the declaration, so a strategy without conditions keeps its hash and its decisions their ids.
    """

    name: str = "liquid"
    size: int = 500
    lookback: int = 20
    min_price: float = 3.0
    eligible: Eligibility | msgspec.UnsetType = msgspec.UNSET


class ModelRule(Frozen, frozen=True):
    """How the model is trained, validated and promoted.

    `validation` sessions at the end are held out behind `embargo` sessions, `min_sessions` are needed before them;
    a candidate whose validation IC is worse than the champion's by more than `tolerance` standard errors is not promoted.
    """

    rounds: int = 200
    params: Mapping[str, float | int | str] = msgspec.field(
        default_factory=lambda: {
            "objective": "regression",
            "num_leaves": 15,
            "learning_rate": 0.05,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 10.0,
        }
    )
    seed: int = 7
    threads: int = 1  # a fit takes two seconds; more threads spin by the minute where cores are shared
    validation: int = 20
    embargo: int = 5
    min_sessions: int = 60
    tolerance: float = 2.0


class Limits(Frozen, frozen=True):
    """What a decision set may ask for; anything beyond is NO_TRADE."""

    max_weight: float = 0.05
    max_gross: float = 1.0
    min_members: int = 10
    min_coverage: float = 0.9  # share of members with a bar and a score
    max_psi: float = 0.5  # median population stability index of the features against training
    max_model_age: int = 45  # sessions since the model's cut
    min_trade: float = 0.002  # of equity; smaller differences are not traded


class Strategy(Frozen, frozen=True):
    """`decide_minutes_before_open`: the knowledge cut of session t lies so long before the open of t+1, when its orders fill."""

    name: str
    calendar: str = "XNYS"
    universe: UniverseRule = UniverseRule()
    feature_set: str = "price_volume"
    model: ModelRule = ModelRule()
    limits: Limits = Limits()
    horizon: int = 5
    holdings: int = 40
    decide_minutes_before_open: int = 15
    good_for_sessions: int = 3
    version: str = "1"

    @property
    def config_hash(self) -> str:
        """Identifies everything declared here."""
        return content_id(msgspec.to_builtins(self))


LIQUID_MOMENTUM = Strategy(name="liquid_momentum")
