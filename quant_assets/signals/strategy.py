"""A strategy is one declaration: what it looks at, how it thinks, when it decides, what it may do."""

from collections.abc import Iterable, Mapping
from typing import Literal

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

    `validation` sessions at the end are held out behind `embargo` sessions, `min_sessions` are needed before them.
    A candidate is promoted where its validation IC lies above `min_ic` (unset: 0) and is not worse than the champion's
    by more than `tolerance` standard errors. Unset, `min_ic` is no part of the declaration.
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
    min_ic: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def floor(self) -> float:
        """The out-of-sample IC above which a model must lie to become champion."""
        return 0.0 if isinstance(self.min_ic, msgspec.UnsetType) else float(self.min_ic)


class Limits(Frozen, frozen=True):
    """What a decision set may ask for; anything beyond is NO_TRADE."""

    max_weight: float = 0.05
    max_gross: float = 1.0
    min_members: int = 10
    min_coverage: float = 0.9  # share of members with a bar and a score
    max_psi: float = 0.5  # median population stability index of the features against training
    max_model_age: int = 45  # sessions since the model's cut
    min_trade: float = 0.002  # of equity; smaller differences are not traded


class NetOf(Frozen, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a forward return is measured against, one of these, as known at the cut of the label's session.

    `universe`: the mean of its members. `index`: the mean of its members, by their weights where all are told. `symbol`: that
    instrument's own return. `factors`: a feature set published for `universe` at `version`; what is left is the residual on
    its `exposures` (none named: all its features) and a constant. Raises ValueError for anything else.
    """

    universe: str = ""
    index: str = ""
    symbol: str = ""
    factors: str = ""
    version: str = ""
    exposures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Exactly one of them; factors with their universe and version."""
        if self.factors and not (self.universe and self.version):
            raise ValueError(
                f"net of the factors of {self.factors!r}: say for which universe they are published and at which version"
            )
        if sum(map(bool, (self.universe, self.index, self.symbol))) != 1 or (
            not self.factors and (self.version or self.exposures)
        ):
            raise ValueError(
                "net_of names one of universe, index, symbol, or factors with their universe and version (and exposures)"
            )

    @property
    def name(self) -> str:
        """As it stands in a label's name."""
        if self.factors:
            return f"{self.factors} {self.version} in {self.universe}" + (
                f" ({', '.join(self.exposures)})" if self.exposures else ""
            )
        return self.universe or (f"index {self.index}" if self.index else f"symbol {self.symbol}")


class LabelRule(Frozen, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a model of session t learns: the return over `horizon` sessions, of what one share becomes (splits, dividends, endings).

    `open_to_open`: open(t+1) to open(t+1+horizon), as orders decided at t fill. `close_to_close`: close(t) to close(t+horizon),
    which nobody can trade. Both optionally `net_of` something.
    `triple_barrier`: entry at open(t+1), exit where the return first reaches `upper` or −`lower` times the name's daily
    volatility over `volatility` sessions as known at the cut of t (0: no such barrier), at open(t+1+horizon) at the latest.
    Raises ValueError for a rule that cannot be.
    """

    horizon: int
    kind: Literal["open_to_open", "close_to_close", "triple_barrier"] = "open_to_open"
    net_of: NetOf | None = None
    upper: float = 2.0
    lower: float = 2.0
    volatility: int = 20

    def __post_init__(self) -> None:
        """See the class."""
        if self.horizon < 1:
            raise ValueError(f"a label looks at least one session ahead, not {self.horizon}")
        if self.kind != "triple_barrier":
            if (self.upper, self.lower, self.volatility) != (2.0, 2.0, 20):
                raise ValueError(f"upper, lower and volatility belong to triple_barrier; this label is {self.kind}")
        elif self.net_of is not None:
            raise ValueError(
                "the barriers of a triple_barrier label are in the name's own return; it cannot be net of anything"
            )
        elif not (0 <= self.upper < float("inf") and 0 <= self.lower < float("inf") and self.volatility >= 2):
            raise ValueError(
                f"barriers are multiples from 0 (none) of a volatility over 2 sessions or more; found {self.upper}, {self.lower} and {self.volatility}"
            )

    @property
    def name(self) -> str:
        """Identifies the rule but for its horizon: LABELS.label."""
        if self.kind == "triple_barrier":
            return f"{self.kind} {self.upper}/{self.lower}x{self.volatility}"
        return self.kind if self.net_of is None else f"{self.kind} net of {self.net_of.name}"

    @property
    def reach(self) -> int:
        """After how many sessions the label is known at the latest."""
        return self.horizon if self.kind == "close_to_close" else self.horizon + 1

    @property
    def lookback(self) -> int:
        """How many sessions before the one in which it becomes known a label is made of."""
        return self.reach + (self.volatility if self.kind == "triple_barrier" else 0)


class Strategy(Frozen, frozen=True):
    """`decide_minutes_before_open`: the knowledge cut of session t lies so long before the open of t+1, when its orders fill.

    `label`: what the model learns. Unset it is the return from open to open over `horizon`, and no part of the declaration.
    """

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
    label: LabelRule | msgspec.UnsetType = msgspec.UNSET

    @property
    def rule(self) -> LabelRule:
        """What the model learns."""
        return self.label if isinstance(self.label, LabelRule) else LabelRule(horizon=self.horizon)

    @property
    def config_hash(self) -> str:
        """Identifies everything declared here."""
        return content_id(msgspec.to_builtins(self))


LIQUID_MOMENTUM = Strategy(name="liquid_momentum")


def universes_of(strategies: Iterable[Strategy], feature_set: str) -> list[str]:
    """The universes over which a set is published: those of the strategies that read it; all, where none does and it is there for research."""
    known = list(strategies)
    reading = {u for u, read in needed(known) if read == feature_set}
    return sorted(reading or {s.universe.name for s in known})


def sets_of(strategies: Iterable[Strategy]) -> list[str]:
    """The feature sets that the strategies need each day: what their models read, and the factors that their labels are net of."""
    return sorted({read for _, read in needed(strategies)})


def needed(strategies: Iterable[Strategy]) -> list[tuple[str, str]]:
    """Universe and feature set of everything that the strategies need published; sorted."""
    known = list(strategies)
    factors = [(n.universe, n.factors) for s in known if (n := s.rule.net_of) and n.factors]
    return sorted({*((s.universe.name, s.feature_set) for s in known), *factors})
