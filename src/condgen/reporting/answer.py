"""The answer in one sentence, made from the numbers by plain rules.

A difference is one of 95 % intervals that do not overlap, as for the verdicts. If a model is hardly trained,
or if the classifier that judges is poor, the answer is that the run cannot tell.
"""

from collections.abc import Mapping
from typing import Any

from condgen.datasets.spec import Words
from condgen.evaluation import claims
from condgen.models import MODELS

JUDGES = 0.9  # the classifier's accuracy on real test images, below which it is too poor to judge
NOISE = 1.25  # sharpness against real, above which edges are not sharp but noisy


def answer(results: Mapping[str, Any], when: str = "") -> str:
    """A sentence from the content of evaluate.json. when: what it starts with, such as "With 100 epochs"."""
    words = Words(results["classes"])
    why = unknown(results, words)
    if why:
        return f"This run cannot tell: {why}."
    said = [_obeys(results, words), *_looks(results, words)]
    text = ", ".join(said[:-1]) + f", and {said[-1]}."
    return f"{when}, {text}" if when else text[0].upper() + text[1:]


def unknown(results: Mapping[str, Any], words: Words) -> str:
    """Why the numbers cannot tell which model is better; empty if they can."""
    accuracy = results["classifier"]["test_accuracy"]
    if accuracy < JUDGES:
        return f"the classifier that judges is right for only {100 * accuracy:.1f} % of real {words.images}"
    return ", and ".join(filter(None, (claims.untrained(name, results) for name in MODELS)))


def higher(results: Mapping[str, Any], key: str) -> str | None:
    """The model whose metric is higher; None if the intervals overlap or are unknown."""
    cvae, cgan = (results["intervals"][name].get(key) for name in ("cvae", "cgan"))
    return {"met": "cgan", "refuted": "cvae", "open": None}[claims.outcome(cvae, cgan)]


def _obeys(results: Mapping[str, Any], words: Words) -> str:
    shares = {name: results[name]["class_accuracy"] for name in MODELS}
    more = higher(results, "class_accuracy")
    if more is None:
        both = ", ".join(f"{MODELS[name].title} {100 * share:.1f} %" for name, share in shares.items())
        return f"both models draw the requested {words.one} about equally often ({both})"
    less = next(name for name in MODELS if name != more)
    digits = 1 if f"{100 * shares[more]:.1f}" != f"{100 * shares[less]:.1f}" else 2
    return (
        f"the {MODELS[more].title} draws the requested {words.one} more often "
        f"({100 * shares[more]:.{digits}f} % against {100 * shares[less]:.{digits}f} %)"
    )


def _looks(results: Mapping[str, Any], words: Words) -> list[str]:
    """What is said of sharpness and of variety; in one part if one model leads in both."""
    sharper = higher(results, "sharpness")
    noisy = [MODELS[name].title for name in MODELS if results[name]["sharpness"] > NOISE]
    if noisy:
        sharp = f"the {' and '.join(noisy)}'s {words.images} are noisier than real ones"
    elif sharper is None:
        sharp = f"their {words.images} are about equally sharp"
    else:
        sharp = f"the {MODELS[sharper].title}'s {words.images} are sharper"
    outcomes = [c["outcome"] for row in results["claims"] if row["claim"] == claims.VARIETY
                for c in row["comparisons"]]  # fmt: skip
    votes = {"cgan": outcomes.count("met"), "cvae": outcomes.count("refuted")}
    leader = next((name for name, count in votes.items() if count == len(outcomes)), None)
    if leader and leader == sharper and not noisy:
        return [f"{sharp} and more varied"]
    if leader:
        return [sharp, f"the {MODELS[leader].title}'s {words.images} are more varied"]
    if not any(votes.values()):
        return [sharp, "neither model's vary visibly more"]
    most, least = sorted(votes, key=lambda name: -votes[name])
    return [
        sharp,
        f"of {len(outcomes)} measures of variety {votes[most]} favour the {MODELS[most].title} and "
        f"{votes[least] or 'none'} the {MODELS[least].title}",
    ]
