"""A strategy is one declaration: what it looks at, how it thinks, when it decides, what it may do."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quant_assets.moments import BeforeClose, BeforeOpen, Moment
from quant_assets.plugged import Plug, fingerprints, name_of
from quant_assets.records import Frozen, Name, content_id, safe_name
from quant_assets.rolls import Roll

PERCENT = {"hint": "a fraction: 0.05 is five percent"}
Word = Annotated[str, Meta(min_length=1)]
Sessions = Annotated[int, Meta(ge=1, le=2520)]


class Eligibility(Frozen, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a name must satisfy beside price and liquidity, all as known at the cut.

    What is not known of a name makes it ineligible where it is asked for.
    """

    index: Annotated[tuple[Word, ...], Meta(description="A member of one of these indices.")] = ()
    min_sessions: Annotated[int, Meta(ge=0, le=25_200, description="Listed for so many sessions that we know of.")] = 0
    min_dollar_volume: Annotated[float, Meta(ge=0, description="Median over the rule's lookback.")] = 0.0
    exclude_sectors: Annotated[tuple[Word, ...], Meta(description="A member of none of these sectors.")] = ()
    sector_scheme: Annotated[
        str, Meta(description="Whose sectors these are (dataset `sectors`); without one, the listing's own.")
    ] = ""


class UniverseRule(Frozen, frozen=True, forbid_unknown_fields=True):
    """The `size` most liquid names (median dollar volume over `lookback` sessions, raw close ≥ `min_price`), chosen at
    each month's first session.

    `eligible`: further conditions. Unset it is no part of the declaration, so a strategy without conditions keeps its
    hash and its decisions their ids.
    """

    name: Annotated[Name, Meta(description="What the universe is called; strategies of one name share one rule.")] = (
        "liquid"
    )
    size: Annotated[int, Meta(ge=1, le=100_000, description="How many names, the most liquid ones.")] = 500
    lookback: Annotated[Sessions, Meta(description="Sessions over which liquidity is measured.")] = 20
    min_price: Annotated[float, Meta(ge=0, description="The least raw close.")] = 3.0
    eligible: Annotated[
        Eligibility | msgspec.UnsetType, Meta(description="Further conditions, all as known at the cut.")
    ] = msgspec.UNSET
    chains: Annotated[
        tuple[Word, ...] | msgspec.UnsetType,
        Meta(description="Futures by underlying: each is a continuous series, traded in the contract that is held."),
    ] = msgspec.UNSET
    roll: Annotated[
        Roll | msgspec.UnsetType, Meta(description="When the next contract is held; unset: 5 days before first notice.")
    ] = msgspec.UNSET

    @property
    def indices(self) -> tuple[str, ...]:
        """The indices of which its names are members; none where it names none."""
        return () if isinstance(self.eligible, msgspec.UnsetType) else self.eligible.index


class ModelRule(Frozen, frozen=True, forbid_unknown_fields=True):
    """How the model is trained, validated and promoted.

    `validation` sessions at the end are held out behind `embargo` sessions, `min_sessions` are needed before them.
    A candidate is promoted where its validation IC lies above `min_ic` (unset: 0) and is not worse than the champion's
    by more than `tolerance` standard errors. Unset, `min_ic` is no part of the declaration.
    """

    rounds: Annotated[int, Meta(ge=1, le=100_000, description="Trees.")] = 200
    params: Annotated[Mapping[str, float | int | str], Meta(description="LightGBM's own, instead of the defaults.")] = (
        msgspec.field(
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
    )
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647, description="Of all that is drawn at random.")] = 7
    # a fit takes two seconds; more threads spin by the minute where cores are shared
    threads: Annotated[int, Meta(ge=1, le=256, description="Of a fit.")] = 1
    validation: Annotated[Sessions, Meta(description="Sessions at the end that are held out.")] = 20
    embargo: Annotated[int, Meta(ge=0, le=2520, description="Sessions left empty before them.")] = 5
    min_sessions: Annotated[int, Meta(ge=1, le=25_200, description="Sessions needed before those.")] = 60
    tolerance: Annotated[
        float, Meta(ge=0, le=100, description="Standard errors by which a candidate may be worse.")
    ] = 2.0
    min_ic: Annotated[
        Annotated[float, Meta(ge=-1, le=1)] | msgspec.UnsetType,
        Meta(description="Above which its IC out of sample must lie; unset: 0."),
    ] = msgspec.UNSET
    learner: Annotated[
        Plug | msgspec.UnsetType,
        Meta(description="What makes the model, instead of LightGBM.", extra={"plug": "learner"}),
    ] = msgspec.UNSET

    @property
    def floor(self) -> float:
        """The out-of-sample IC above which a model must lie to become champion."""
        return 0.0 if isinstance(self.min_ic, msgspec.UnsetType) else float(self.min_ic)


class Limits(Frozen, frozen=True, forbid_unknown_fields=True):
    """What a decision set may ask for; anything beyond is NO_TRADE."""

    max_weight: Annotated[
        float, Meta(gt=0, le=1, description="The most of equity in one name, as a fraction.", extra=PERCENT)
    ] = 0.05
    max_gross: Annotated[
        float,
        Meta(
            gt=0,
            le=10,
            description="The most of equity in all names, as a fraction.",
            extra={"hint": "1 is all equity"},
        ),
    ] = 1.0
    min_members: Annotated[int, Meta(ge=1, le=100_000, description="The least members of the universe.")] = 10
    min_coverage: Annotated[
        float, Meta(ge=0, le=1, description="The least share of members with a bar and a score.", extra=PERCENT)
    ] = 0.9
    max_psi: Annotated[
        float,
        Meta(gt=0, le=100, description="Median population stability index of the features against training."),
    ] = 0.5
    max_model_age: Annotated[Sessions, Meta(description="Sessions since the model's cut.")] = 45
    min_trade: Annotated[
        float, Meta(ge=0, lt=1, description="Of equity; smaller differences are not traded.", extra=PERCENT)
    ] = 0.002


class NetOf(Frozen, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a forward return is measured against, one of these, as known at the cut of the label's session.

    `universe`: the mean of its members. `index`: the mean of its members, by their weights where all are told.
    `symbol`: that instrument's own return. `factors`: a feature set published for `universe` at `version`; what is left
    is the residual on its `exposures` (none named: all its features) and a constant. Raises ValueError for anything
    else.
    """

    universe: Annotated[str, Meta(description="The mean of this universe's members.")] = ""
    index: Annotated[str, Meta(description="The mean of this index's members.")] = ""
    symbol: Annotated[str, Meta(description="This instrument's own return.")] = ""
    factors: Annotated[str, Meta(description="A feature set; what it does not explain is left.")] = ""
    version: Annotated[str, Meta(description="The version of the factors' set.")] = ""
    exposures: Annotated[tuple[Word, ...], Meta(description="Which of its features; none named: all.")] = ()

    def __post_init__(self) -> None:
        """Exactly one of them; factors with their universe and version."""
        if self.factors and not (self.universe and self.version):
            raise ValueError(
                f"net of the factors of {self.factors!r}: give the universe for which they are published, and the "
                f"version"
            )
        if sum(map(bool, (self.universe, self.index, self.symbol))) != 1 or (
            not self.factors and (self.version or self.exposures)
        ):
            raise ValueError(
                "net_of names one of universe, index, symbol, or factors with their universe and version "
                "(and exposures)"
            )

    @property
    def name(self) -> str:
        """The benchmark as in a label's name."""
        if self.factors:
            return f"{self.factors} {self.version} in {self.universe}" + (
                f" ({', '.join(self.exposures)})" if self.exposures else ""
            )
        return self.universe or (f"index {self.index}" if self.index else f"symbol {self.symbol}")


class LabelRule(Frozen, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a model of session t learns: the return over `horizon` sessions, of what one share becomes (splits,
    dividends, endings).

    `open_to_open`: open(t+1) to open(t+1+horizon), as orders decided at t fill. `close_to_close`: close(t) to
    close(t+horizon), which nobody can trade. `traded_close_to_close`: close(t+1) to close(t+1+horizon), as orders fill
    that trade at the close. All optionally `net_of` something. `triple_barrier`: entry at open(t+1),
    exit where the return first reaches `upper` or −`lower` times the name's daily volatility over `volatility` sessions
    as known at the cut of t (0: no such barrier), at open(t+1+horizon) at the latest. Raises ValueError for a rule that
    cannot be.
    """

    horizon: Annotated[Sessions, Meta(description="Sessions over which the return is taken.")]
    kind: Annotated[
        Literal["open_to_open", "close_to_close", "traded_close_to_close", "triple_barrier"],
        Meta(description="Between which prices."),
    ] = "open_to_open"
    net_of: Annotated[NetOf | None, Meta(description="What the return is measured against.")] = None
    upper: Annotated[float, Meta(ge=0, le=1000, description="Profit barrier in daily volatilities; 0: none.")] = 2.0
    lower: Annotated[float, Meta(ge=0, le=1000, description="Loss barrier in daily volatilities; 0: none.")] = 2.0
    volatility: Annotated[int, Meta(ge=2, le=2520, description="Sessions over which volatility is measured.")] = 20
    by: Annotated[
        Plug | msgspec.UnsetType,
        Meta(description="What makes the value of the returns within the horizon.", extra={"plug": "label"}),
    ] = msgspec.UNSET

    def __post_init__(self) -> None:
        """See the class."""
        if self.horizon < 1:
            raise ValueError(f"a label looks at least one session ahead, not {self.horizon}")
        if self.by and (self.kind == "triple_barrier" or self.net_of is not None):
            raise ValueError(
                "a label made by a plug-in is of returns between opens or closes, net of nothing: leave out net_of, "
                "and name open_to_open or close_to_close"
            )
        if self.kind != "triple_barrier":
            if (self.upper, self.lower, self.volatility) != (2.0, 2.0, 20):
                raise ValueError(f"upper, lower and volatility belong to triple_barrier; this label is {self.kind}")
        elif self.net_of is not None:
            raise ValueError(
                "the barriers of a triple_barrier label are in the name's own return; it cannot be net of anything"
            )
        elif not (0 <= self.upper < float("inf") and 0 <= self.lower < float("inf") and self.volatility >= 2):
            raise ValueError(
                f"barriers are multiples from 0 (none) of a volatility over 2 sessions or more; found "
                f"{self.upper}, {self.lower} and {self.volatility}"
            )

    @property
    def name(self) -> str:
        """Identifies the rule but for its horizon: LABELS.label."""
        if self.kind == "triple_barrier":
            return f"{self.kind} {self.upper}/{self.lower}x{self.volatility}"
        if self.by:
            return (
                f"{self.kind} by {name_of(self.by)} {content_id(self.by, fingerprints(('label', self.by)), length=8)}"
            )
        return self.kind if self.net_of is None else f"{self.kind} net of {self.net_of.name}"

    @property
    def reach(self) -> int:
        """After how many sessions the label is known at the latest."""
        return self.horizon if self.kind == "close_to_close" else self.horizon + 1

    @property
    def lookback(self) -> int:
        """How many sessions before the one in which it becomes known a label is made of."""
        return self.reach + (self.volatility if self.kind == "triple_barrier" else 0)


class Strategy(Frozen, frozen=True, forbid_unknown_fields=True):
    """`decide_minutes_before_open`: the knowledge cut of session t lies so long before the open of t+1, when its orders
    fill.

    `label`: what the model learns. Unset it is the return from open to open over `horizon`, and no part of the
    declaration. Raises ValueError where a file could not be called after its name or its universe's.
    """

    name: Annotated[Name, Meta(description="What the strategy is called, in commands and rows.")]
    calendar: Annotated[str, Meta(description="Its venue's: the deployment's, or that of one of its `markets`.")] = (
        "XNYS"
    )
    universe: Annotated[UniverseRule, Meta(description="Which names it looks at.")] = UniverseRule()
    feature_set: Annotated[str, Meta(description="The features that its model reads.")] = "price_volume"
    model: Annotated[ModelRule, Meta(description="How its model is trained and promoted.")] = ModelRule()
    limits: Annotated[Limits, Meta(description="What its decisions may ask for.")] = Limits()
    horizon: Annotated[Sessions, Meta(description="Sessions ahead that its model looks, without a label.")] = 5
    holdings: Annotated[int, Meta(ge=1, le=100_000, description="How many names it holds.")] = 40
    decide_minutes_before_open: Annotated[
        int, Meta(ge=1, le=1440, description="How long before the next open it decides.")
    ] = 15
    good_for_sessions: Annotated[int, Meta(ge=1, le=252, description="Sessions for which an order works.")] = 3
    version: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]{1,32}$(?!\\n)",
            description="Yours.",
            extra={"write": "up to 32 letters, digits, ., _ and -"},
        ),
    ] = "1"
    label: Annotated[
        LabelRule | msgspec.UnsetType,
        Meta(description="What its model learns, instead of the return from open to open."),
    ] = msgspec.UNSET
    adjustment: Annotated[
        Literal["adjusted", "split-only", "unadjusted"] | msgspec.UnsetType,
        Meta(description="Which prices its features read; refused where its feature set reads others."),
    ] = msgspec.UNSET
    timezone: Annotated[
        Literal["exchange-local", "UTC", "settlement-local"] | msgspec.UnsetType,
        Meta(description="Whose days its sessions are; refused where the calendar has others."),
    ] = msgspec.UNSET
    decide: Annotated[
        Moment | msgspec.UnsetType,
        Meta(description="When it decides, instead of some minutes before the open."),
    ] = msgspec.UNSET
    construction: Annotated[
        Plug | msgspec.UnsetType,
        Meta(
            description="What turns scores into weights, instead of the top of the ranking, equally weighted.",
            extra={"plug": "construction"},
        ),
    ] = msgspec.UNSET

    spans: Annotated[
        tuple[Word, ...] | msgspec.UnsetType,
        Meta(description="Calendars of other markets whose names its universe has too."),
    ] = msgspec.UNSET

    def __post_init__(self) -> None:
        """See the class."""
        safe_name(self.name)
        safe_name(self.universe.name)

    @property
    def rule(self) -> LabelRule:
        """What the model learns."""
        if isinstance(self.label, LabelRule):
            return self.label
        at_close = isinstance(self.moment, BeforeClose)
        return LabelRule(horizon=self.horizon, kind="traded_close_to_close" if at_close else "open_to_open")

    @property
    def days(self) -> str:
        """Whose days its sessions are, as a snapshot has it; undeclared it is UTC, the clock of all knowledge times."""
        return "UTC" if isinstance(self.timezone, msgspec.UnsetType) else str(self.timezone)

    @property
    def venues_beside(self) -> tuple[str, ...]:
        """The calendars of the other markets whose names it decides; ascending."""
        return () if isinstance(self.spans, msgspec.UnsetType) else tuple(sorted({*self.spans} - {self.calendar}))

    @property
    def moment(self) -> Moment:
        """When it decides."""
        if isinstance(self.decide, msgspec.UnsetType):
            return BeforeOpen(self.decide_minutes_before_open)
        return self.decide

    @property
    def config_hash(self) -> str:
        """Identifies everything declared here and, of plug-ins that are not the platform's own, their source."""
        sources = fingerprints(
            ("learner", self.model.learner), ("construction", self.construction), ("label", self.rule.by)
        )
        return content_id(msgspec.to_builtins(self), *([sources] if sources else []))


LIQUID_MOMENTUM = Strategy(name="liquid_momentum")


def universes_of(strategies: Iterable[Strategy], feature_set: str) -> list[str]:
    """The universes over which a set is published: those of the strategies that read it; all, where none does and it is
    there for research.
    """
    known = list(strategies)
    reading = {u for u, read in needed(known) if read == feature_set}
    return sorted(reading or {s.universe.name for s in known})


def sets_of(strategies: Iterable[Strategy]) -> list[str]:
    """The feature sets that the strategies need each day: what their models read, and the factors that their labels are
    net of.
    """
    return sorted({read for _, read in needed(strategies)})


def needed(strategies: Iterable[Strategy]) -> list[tuple[str, str]]:
    """Universe and feature set of everything that the strategies need published; sorted."""
    known = list(strategies)
    factors = [(n.universe, n.factors) for s in known if (n := s.rule.net_of) and n.factors]
    return sorted({*((s.universe.name, s.feature_set) for s in known), *factors})
