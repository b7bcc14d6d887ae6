"""The article's claims, each tested by comparisons of intervals, with a verdict by RULE."""

from collections.abc import Mapping
from dataclasses import dataclass

RULE = (
    "A comparison is met if the two 95 % intervals do not overlap and are in the claimed order, refuted if "
    "they do not overlap and are in the opposite order, and open if they overlap. A claim holds if all of "
    "its comparisons are met, and does not hold if at least one is refuted and none is met. Otherwise the "
    'verdict is "cannot tell": the measures disagree, or intervals overlap.'
)


@dataclass(frozen=True)
class Comparison:
    """The claim that `left` is below `right` in `metric`; both name a set of images."""

    metric: str
    left: str
    right: str


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
    Claim(
        "The CVAE's diversity is bad.",
        "it covers fewer real images than other real images do, and its pictures of a class are more alike, "
        "in their pixels' structure and in the classifier's features",
        (
            Comparison("recall", "cvae", "real"),
            Comparison("coverage", "cvae", "real"),
            Comparison("pairwise_ssim", "real", "cvae"),
            Comparison("pairwise_distance", "cvae", "real"),
        ),
    ),
    Claim(
        "The CGAN's diversity is better.",
        "measures of diversity rank it above the CVAE: the real images that it covers, and how little alike "
        "its pictures of a class are, in structure and in features",
        (
            Comparison("recall", "cvae", "cgan"),
            Comparison("coverage", "cvae", "cgan"),
            Comparison("pairwise_ssim", "cgan", "cvae"),
            Comparison("pairwise_distance", "cvae", "cgan"),
        ),
    ),
    Claim(
        "The CGAN's generation process is random.",
        "what comes out is less certain than with the CVAE, and than with real images: how often it is the "
        "class asked for, and (a measure shared with the first claim) whether it still is an epoch later",
        (
            Comparison("class_accuracy", "cgan", "cvae"),
            Comparison("class_accuracy", "cgan", "real"),
            Comparison("reading_change", "cvae", "cgan"),
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


def verdict(outcomes: list[str]) -> str:
    """holds, does not hold or cannot tell, by RULE."""
    if all(outcome == "met" for outcome in outcomes):
        return "holds"
    if "refuted" in outcomes and "met" not in outcomes:
        return "does not hold"
    return "cannot tell"


def reason(outcomes: list[str], measured: bool = True) -> str:
    """Why the verdict is "cannot tell"; empty for the others. measured: every interval is known."""
    if verdict(outcomes) != "cannot tell":
        return ""
    if "refuted" in outcomes and "met" in outcomes:
        return "the measures disagree"
    return "intervals overlap" if measured else "not all was measured"


def judge(intervals: Mapping[str, Mapping[str, Interval]]) -> list[dict]:
    """Every claim with its comparisons and its verdict, as plain values.

    intervals: set -> metric -> (low, high), or None if there is no interval.
    """
    judged = []
    for claim in CLAIMS:
        rows = [
            {
                "metric": c.metric,
                "below": c.left,
                "above": c.right,
                "outcome": outcome(intervals[c.left].get(c.metric), intervals[c.right].get(c.metric)),
            }
            for c in claim.comparisons
        ]
        judged.append(
            {
                "claim": claim.text,
                "meaning": claim.meaning,
                "comparisons": rows,
                "verdict": verdict([row["outcome"] for row in rows]),
                "reason": reason(
                    [row["outcome"] for row in rows],
                    all(intervals[n].get(c.metric) for c in claim.comparisons for n in (c.left, c.right)),
                ),
            }
        )
    return judged
