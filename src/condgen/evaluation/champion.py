"""Section `registry` of params.yaml: which number makes a model the champion. It changes no output."""

from typing import ClassVar, Literal

from condgen.metrics import METRICS, Metric
from condgen.params import Section

RANKED = {metric.key: metric for metric in METRICS if metric.better != "none"}


class RegistryParams(Section):
    """Section `registry` of params.yaml."""

    section: ClassVar[str] = "registry"
    champion: Literal[tuple(RANKED)]

    @property
    def metric(self) -> Metric:
        return RANKED[self.champion]
