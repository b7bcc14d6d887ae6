"""Sections `evaluate` and `registry` of params.yaml."""

from typing import ClassVar, Literal

from pydantic import Field

from condgen.base.sections import Section
from condgen.evaluation.catalog import BY_KEY, METRICS, Metric

CHOICES = tuple(m.key for m in METRICS if m.better != "none" and m.group != "cost")


class EvaluateParams(Section):
    """Section `evaluate` of params.yaml."""

    section: ClassVar[str] = "evaluate"
    reference: Literal["test", "validation"]
    gan_train_epochs: int = Field(ge=1, le=1000)


class RegistryParams(Section):
    """Section `registry` of params.yaml: the metric that chooses the champion. It changes no output."""

    section: ClassVar[str] = "registry"
    champion: Literal[CHOICES]  # type: ignore[valid-type]

    @property
    def metric(self) -> Metric:
        return BY_KEY[self.champion]
