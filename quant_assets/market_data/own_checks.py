"""The questions about bars that a deployment asks beside the platform's own."""

import re
from collections.abc import Sequence

from quant_assets.errors import ConfigurationError
from quant_assets.market_data.partitions import JUDGED
from quant_assets.market_data.quality import RULES
from quant_assets.market_data.rules import SEVERITIES, Rule
from quant_assets.plugged import Plug, name_of, opened


def rules_of(checks: Sequence[Plug]) -> tuple[Rule, ...]:
    """The platform's rules of the bars, and those that the plug-ins named make.

    Raises ConfigurationError for a rule that has another's name, no such severity, or reads a column that is not there.
    """
    rules = list(RULES)
    for plug in checks:
        rule: Rule = opened("check", plug)
        rules.append(examined(rule, name_of(plug), {r.name for r in rules}))
    return tuple(rules)


def examined(rule: Rule, check: str, others: set[str]) -> Rule:
    """The rule of a check, if it can be asked beside those named `others`; raises as `rules_of`."""
    known = {c for r in RULES for c in r.reads} | {*JUDGED, "sid", "symbol"}
    if not re.fullmatch(r"[A-Za-z0-9_]+", rule.name) or rule.name in others:
        why = "is another rule's" if rule.name in others else "must be letters, digits and underscores"
        raise ConfigurationError(f"check {check}: the name of its rule, {rule.name!r}, {why}; choose another")
    if rule.severity not in {"block", "warn"}:
        raise ConfigurationError(
            f"check {check}: its severity is {rule.severity!r}; of {', '.join(SEVERITIES)} a rule of bars may be block "
            "or warn"
        )
    if strange := sorted(rule.reads - known):
        raise ConfigurationError(
            f"check {check}: the bars have no {', '.join(strange)}; there are {', '.join(sorted(known))}"
        )
    return rule
