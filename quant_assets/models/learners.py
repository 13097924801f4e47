"""The learners by the name under which a strategy declares them, and models as they are stored: text, none pickled."""

import base64
from typing import Any

import msgspec
import polars as pl

from quant_assets.errors import TrainingRefused
from quant_assets.models import boosting
from quant_assets.plugged import name_of, opened
from quant_assets.plugins import learner
from quant_assets.ports import Learner
from quant_assets.records import Artifact
from quant_assets.strategy import ModelRule

DEFAULT = boosting.LightGBM.family
learner(DEFAULT)(boosting.LightGBM)


class _Envelope(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The text under which a model of another learner than LightGBM is stored."""

    learner: str
    features: str
    text: str = ""
    base64: str = ""


def name_in(rule: ModelRule) -> str:
    """The name of the learner that a strategy declares; without one, LightGBM's."""
    return name_of(rule.learner or DEFAULT)


def learner_of(rule: ModelRule, family: str | None = None) -> Learner:
    """The learner that a strategy declares or, of a model that another one made, that one.

    Raises ConfigurationError with the learners that exist.
    """
    declared = rule.learner or DEFAULT
    return opened("learner", declared if family is None or family == name_of(declared) else family)


def stored(model: Artifact, name: str) -> str:
    """The text of a model that the learner of that name made; LightGBM's own as it is.

    Raises TrainingRefused where the artifact names another family, under which it could not be read again.
    """
    if model.family != name:
        raise TrainingRefused(f"the learner {name} made an artifact of family {model.family!r}; it must be {name!r}")
    if name == DEFAULT:
        return str(model.content)
    content: dict[str, Any] = (
        {"base64": base64.b64encode(model.content).decode()}
        if isinstance(model.content, bytes)
        else {"text": model.content}
    )
    return msgspec.json.encode(_Envelope(name, model.schema, **content)).decode()


def artifact(text: str) -> Artifact:
    """A stored text as an artifact."""
    if not text.startswith("{"):
        return boosting.artifact(text)
    found = msgspec.json.decode(text, type=_Envelope)
    return Artifact(found.learner, base64.b64decode(found.base64) if found.base64 else found.text, found.features)


def predicted(text: str, frame: pl.DataFrame, rule: ModelRule) -> pl.Series | None:
    """`score` of each row of `frame` by the model of a stored text; None where it cannot be read."""
    fitted = artifact(text)
    by = learner_of(rule, fitted.family)
    return by.predict(fitted, frame, rule.threads).alias("score") if by.usable(fitted) else None
