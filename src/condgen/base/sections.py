"""What a section of params.yaml is. Apart from `params`, which reads the file: a served model has no YAML."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of params.yaml: typed, immutable; unknown keys, NaN and infinity are refused.

    A subclass lives beside the code that uses it, so that a new option of the CGAN does not train the CVAE
    again: DVC sees which file changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    section: ClassVar[str]
