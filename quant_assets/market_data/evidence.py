"""How much evidence the platform needs before it acts on what no vendor declared: actions that only prices show, and
names without bars.
"""

from typing import Annotated

import msgspec

from quant_assets.records import Frozen

MIN_CONFIDENCE = 0.8
DELISTED_AFTER = 60  # a quarter: regulators' halts seldom last longer, and a fund that waits so long has marked it down


class Evidence(Frozen, frozen=True, forbid_unknown_fields=True):
    """The deployment's `evidence`.

    `min_confidence`: a derived action below it is only proposed: a person confirms or rejects it, and until then the
    name is not traded. `delisted_after`: so many good sessions without a bar end a name, if the vendor has no list of
    names.
    """

    min_confidence: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="A derived action below it is only proposed.")
    ] = MIN_CONFIDENCE
    delisted_after: Annotated[
        int, msgspec.Meta(ge=1, le=2_000, description="Good sessions without a bar that end a name.")
    ] = DELISTED_AFTER


EVIDENCE = Evidence()
