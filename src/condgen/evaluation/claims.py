"""The article's claims, each tested by comparisons of intervals, with a verdict by RULE."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

LEAST_EPOCHS = 10
LEAST_ACCURACY = 0.75  # of the class accuracy of real images
EPOCHS = "epochs"
"""The key of a model's epochs, beside its metrics."""

RULE = (
    "A comparison is met if the two 95 % intervals do not overlap and are in the claimed order, refuted if "
    "they do not overlap and are in the opposite order, and open otherwise. A claim holds if all of its "
    "comparisons are met, and does not hold if all are refuted. Otherwise the verdict is 'cannot tell': the "
    "measures disagree, intervals overlap, or not all was measured. It is 'not trained enough to tell' if a "
    f"model that the claim is about was trained for fewer than {LEAST_EPOCHS} epochs, or if its class "
    f"accuracy is below {100 * LEAST_ACCURACY:.0f} % of that of real images."
)


VARIETY = "The CGAN's diversity is better."
"""The claim whose comparisons say which model's pictures vary more."""


@dataclass(frozen=True)
class Comparison:
    """The claim that `left` is below `right` in `metric`; both name a set of images.

    space: what the metric compares, where a claim is tested in several spaces.
    """

    metric: str
    left: str
    right: str
    space: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of the article, and the comparisons that must be met for it to hold."""

    text: str
    meaning: str
    comparisons: tuple[Comparison, ...]


CLAIMS = (
    Claim(
        "The CVAE is relatively stable.",
        "late in training its pictures change less from epoch to epoch than the CGAN's, and fewer are "
        "classified as another class",
        (
            Comparison("picture_change", "cvae", "cgan"),
            Comparison("reading_change", "cvae", "cgan"),
        ),
    ),
    # Recall is not among the tests of diversity, because in one run it has no interval.
    Claim(
        "The CVAE's diversity is bad.",
        "it covers fewer real images than other real images do, and its pictures of a class are more alike, "
        "in the features of two classifiers and in pixels, which nobody trained",
        (
            Comparison("coverage", "cvae", "real", "the classifier's features"),
            Comparison("pairwise_distance", "cvae", "real", "the classifier's features"),
            Comparison("coverage_second", "cvae", "real", "a second classifier's features"),
            Comparison("coverage_pixels", "cvae", "real", "pixels"),
            Comparison("pairwise_ssim_interior", "real", "cvae", "pixels"),
        ),
    ),
    Claim(
        VARIETY,
        "it covers more real images than the CVAE does, and its pictures of a class are less alike, both in "
        "the features of two classifiers and in pixels, which nobody trained",
        (
            Comparison("coverage", "cvae", "cgan", "the classifier's features"),
            Comparison("pairwise_distance", "cvae", "cgan", "the classifier's features"),
            Comparison("coverage_second", "cvae", "cgan", "a second classifier's features"),
            Comparison("coverage_pixels", "cvae", "cgan", "pixels"),
            Comparison("pairwise_ssim_interior", "cgan", "cvae", "pixels"),
        ),
    ),
    Claim(
        "The CGAN's generation process is random.",
        "it disobeys: fewer of its pictures than of the CVAE's are of the class asked for; and the label "
        "decides less of a picture, so the noise decides more",
        (
            Comparison("class_accuracy", "cgan", "cvae"),
            Comparison("label_share", "cgan", "cvae"),
        ),
    ),
)

Interval = tuple[float, float] | None


def outcome(left: Interval, right: Interval) -> str:
    """met, refuted or open, for the claim that `left` is below `right`; open if an interval is missing."""
    if left is None or right is None:
        return "open"
    if left[1] < right[0]:
        return "met"
    if right[1] < left[0]:
        return "refuted"
    return "open"


def verdict(outcomes: Collection[str]) -> str:
    """holds, does not hold or cannot tell, by RULE."""
    for alike, found in (("met", "holds"), ("refuted", "does not hold")):
        if set(outcomes) == {alike}:
            return found
    return "cannot tell"


def reason(outcomes: Collection[tuple[str, str]], measured: bool = True) -> str:
    """Why the verdict is "cannot tell", from each comparison's outcome and space; empty for other verdicts.

    measured: every interval is known.
    """
    if verdict([found for found, _ in outcomes]) != "cannot tell":
        return ""
    met, refuted = ({space for found, space in outcomes if found == one} for one in ("met", "refuted"))
    if met and refuted:
        where = [f"{one} in {' and '.join(sorted(at))}" for one, at in (("met", met), ("refuted", refuted))]
        tells = all(met | refuted) and not met & refuted  # the spaces disagree, each agrees with itself
        return "the measures disagree" + (f": {', '.join(where)}" if tells else "")
    return "intervals overlap" if measured else "not all was measured"


def untrained(name: str, numbers: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a model is too little trained to judge it, by RULE; empty if it is not, or if nothing is known."""
    epochs, accuracy = (numbers[name].get(key) for key in (EPOCHS, "class_accuracy"))
    real = numbers["real"].get("class_accuracy")
    if epochs is not None and epochs < LEAST_EPOCHS:
        return f"the {name.upper()} was trained for {epochs:g} epochs"
    if accuracy is not None and real is not None and accuracy < LEAST_ACCURACY * real:
        return f"the {name.upper()}'s class accuracy is {100 * accuracy:.1f} %"
    return ""


def judge(
    intervals: Mapping[str, Mapping[str, Interval]], numbers: Mapping[str, Mapping[str, Any]]
) -> list[dict]:
    """Every claim with its comparisons and its verdict, as plain values.

    intervals: set -> metric -> (low, high), or None if there is no interval. numbers: set -> metric -> value,
    and the models' EPOCHS, as far as known.
    """
    judged = []
    for claim in CLAIMS:
        sides = [[intervals[name].get(c.metric) for name in (c.left, c.right)] for c in claim.comparisons]
        found = [outcome(*pair) for pair in sides]
        models = sorted({name for c in claim.comparisons for name in (c.left, c.right)} - {"real"})
        early = "; ".join(filter(None, (untrained(name, numbers) for name in models)))
        spaces = [c.space for c in claim.comparisons]
        why = reason(list(zip(found, spaces, strict=True)), all(all(pair) for pair in sides))
        judged.append(
            {
                "claim": claim.text,
                "meaning": claim.meaning,
                "comparisons": [
                    {"metric": c.metric, "below": c.left, "above": c.right, "outcome": one}
                    for c, one in zip(claim.comparisons, found, strict=True)
                ],
                "verdict": "not trained enough to tell" if early else verdict(found),
                "reason": early or why,
            }
        )
    return judged
