"""The base class of params.yaml's sections. It is not in `params`, because a served model has no YAML."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

LrSchedule = Literal["constant", "linear", "cosine"]
"""How Adam's step size changes: `training.optimizers.schedule` has what they mean."""


class Section(BaseModel):
    """One section of params.yaml: typed, immutable; unknown keys, NaN and infinity are refused.

    A subclass is in the same file as the code that uses it: DVC sees which file changed, so a new option of
    the CGAN does not retrain the CVAE.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    section: ClassVar[str]
