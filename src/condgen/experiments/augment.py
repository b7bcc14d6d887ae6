"""More of the rare classes: a training set filled up with drawn images, and whether it helps a classifier.

Whether drawn images add anything is measured as Ravuri & Vinyals 2019, "Classification Accuracy Score for
Conditional Generative Models", do: by classifiers trained with and without them, on real test images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from condgen.base import files
from condgen.base.errors import UserError
from condgen.base.intervals import student
from condgen.base.random import generator
from condgen.datasets import data
from condgen.datasets.spec import Spec
from condgen.evaluation.gan_train import gan_train
from condgen.models.classifier import ClassifierParams
from condgen.sampling.drawing import ABOUT, new_folder
from condgen.sampling.generator import Generator, check_conditional, check_noise
from condgen.training.progress import Progress


def lacking(labels: Tensor, classes: int) -> Tensor:
    """Labels `[m]`, sorted: as many of each class as it lacks to the largest one in `labels` `[n]`."""
    counts = torch.bincount(labels, minlength=classes)
    return torch.arange(classes).repeat_interleave(counts.max() - counts)


def fill_up(
    model: Generator, split: data.Split, labels: Tensor, seed: int, temperature: float = 1.0
) -> data.Images:
    """Drawn images, as many of each class as `labels` `[n]`, those of real images, lack to the largest.

    Raises UserError if the model draws other classes or other shapes than the data set has, if no class lacks
    any, or if seed or temperature is out of range.
    """
    check_conditional(model)
    if model.spec != split.spec:
        raise UserError(
            f"the model draws {_about(model.spec)}, but data/dataset.npz holds {_about(split.spec)}: "
            "'dvc repro' trains models of it"
        )
    wanted = lacking(labels.cpu(), split.spec.count)
    if not len(wanted):
        raise UserError(f"every class has {len(labels) // split.spec.count} images: there is none to fill up")
    drawn = model.images(wanted, "augment", seed, temperature)
    return data.Images(split.spec.to_float(drawn), wanted)


def repeat(images: data.Images, seed: int) -> data.Images:
    """Images taken again at random, as many of each class as `images` lack to the largest."""
    labels, noise = images.y.cpu(), generator(seed, "augment/repeat")
    rows = [
        of_class[torch.randint(len(of_class), (int(count),), generator=noise)]
        for label, count in enumerate(torch.bincount(lacking(labels, int(labels.max()) + 1)))
        for of_class in [(labels == label).nonzero()[:, 0]]
    ]
    taken = torch.cat(rows)
    return data.Images(images.x[taken], images.y[taken])


def _about(spec: Spec) -> str:
    colour = "grey" if spec.channels == 1 else "colour"
    return f"{spec.count} classes ({', '.join(spec.classes[:3])}, ...), {spec.side} x {spec.side}, {colour}"


def export(
    folder: str | Path, model: Generator, split: data.Split, seed: int = 0, temperature: float = 1.0
) -> tuple[int, int]:
    """Writes the data set with every class filled up to the largest; (real, drawn) training images.

    train/<class>/ has real-00000.png, ..., drawn-00000.png, ..., and test/<class>/ real-00000.png, ...: a
    folder that `data.dataset` can name. Test images are real ones only. dataset.json says which model drew.
    The folder appears whole or not at all. Raises UserError as `fill_up`, and if `folder` exists and is not
    empty.
    """
    check_noise(seed, temperature)
    spec = split.spec
    x, y = (torch.cat([getattr(split.validation, k), getattr(split.train, k)]).cpu() for k in ("x", "y"))
    drawn = fill_up(model, split, y, seed, temperature)
    with new_folder(folder) as new:
        real = data.Images(x, y)
        _write(new / "train", spec, {"real": real, "drawn": drawn})
        _write(new / "test", spec, {"real": split.test})
        about = {
            "about": f"Files named real-* are of the data set, files named drawn-* are not. {ABOUT}",
            "data": split.source,
            "model": model.name,
            "model_md5": model.md5,
            "classes": list(spec.classes),
            "seed": seed,
            "temperature": temperature,
            "real_train_images": len(y),
            "drawn_train_images": len(drawn),
        }
        files.write_json(new / "dataset.json", about)
    return len(y), len(drawn)


def _write(folder: Path, spec: Spec, images: dict[str, data.Images]) -> None:
    """Writes <class>/<origin>-00000.png, ... of each class; images: origin -> images."""
    for label, name in enumerate(spec.classes):
        of_class = {origin: spec.to_uint8(found.x[found.y == label]) for origin, found in images.items()}
        if any(len(found) for found in of_class.values()):
            # Fails where names differ in case only and the file system takes them for one.
            (folder / name).mkdir(parents=True)
        for origin, found in of_class.items():
            for number, image in enumerate(found):
                Image.fromarray(image).save(folder / name / f"{origin}-{number:05}.png")


KINDS = {"real": "real", "repeated": "repeated", "drawn": "filled up"}
"""What a classifier is trained on -> the heading of its column."""


def compare(
    p: ClassifierParams, model: Generator, split: data.Split, seeds: Sequence[int]
) -> list[dict[str, float]]:
    """For each seed, the accuracies of three classifiers on real test images, in [0, 1].

    real: trained on the real images. repeated: every class filled up to the largest by its own images, taken
    again. drawn: filled up with drawn images. The last two see the same numbers of images of each class, in
    as many steps, so their difference is what the drawn images bring. A seed is the classifier's, of its
    initial weights and of the order of images, and that of what is drawn or repeated.
    {kind}_{accuracy, balanced, rarest}: over all test images; the mean of the classes' own; that of `rarest`.
    """
    rare, rows = rarest(split), []
    for seed in seeds:
        trains = {"real": split.train}
        for kind, more in (
            ("repeated", repeat(split.train, seed)),
            ("drawn", fill_up(model, split, split.train.y, seed)),
        ):
            x, y = (torch.cat([getattr(split.train, k), getattr(more, k)]) for k in ("x", "y"))
            trains[kind] = data.Images(x, y)
        row: dict[str, float] = {"seed": seed}
        for kind, train in trains.items():
            progress = Progress(f"{kind}, seed {seed}", p.epochs, ClassifierParams.section)
            seeded = p.model_copy(update={"seed": seed})
            right = gan_train(seeded, p.epochs, train, split, progress).double()
            present = split.test.y.unique().tolist()
            by_class = {label: float(right[split.test.y == label].mean()) for label in present}
            row |= {
                f"{kind}_accuracy": float(right.mean()),
                f"{kind}_balanced": float(np.mean(list(by_class.values()))),
                f"{kind}_rarest": by_class[rare],
            }
        rows.append(row)
    return rows


def rarest(split: data.Split) -> int:
    """The class with the fewest training images, of those that have test images."""
    counts = torch.bincount(split.train.y, minlength=split.spec.count)
    return min(split.test.y.unique().tolist(), key=lambda label: int(counts[label]))


def text(rows: Sequence[dict[str, float]], split: data.Split) -> str:
    """A table: each kind's mean over seeds, and what drawn images bring, with its 95 % interval over seeds.

    The interval is Student's t of the paired differences. It does not cover another training of the
    generator, nor other test images.
    """
    rare = rarest(split)
    names = {
        "accuracy": "accuracy",
        "balanced": "mean accuracy of the classes",
        "rarest": f"accuracy of {split.spec.classes[rare]!r}, which has "
        f"{int((split.train.y == rare).sum())} training images",
    }
    width = max(map(len, names.values()))
    heads = "".join(f"{title:>11}" for title in KINDS.values())
    lines = [f"{f'% on {len(split.test):,} real test images':{width}}{heads}  filled up - repeated"]
    for key, name in names.items():
        found = {kind: 100 * np.array([row[f"{kind}_{key}"] for row in rows]) for kind in KINDS}
        change, n = found["drawn"] - found["repeated"], len(rows)
        between = student(float(change.mean()), float(change.std(ddof=1)), n) if n > 1 else None
        bounds = f" [{between[0]:+.2f}, {between[1]:+.2f}]" if between else ""
        means = "".join(f"{values.mean():11.2f}" for values in found.values())
        lines.append(f"{name:{width}}{means}  {change.mean():+.2f}{bounds}")
    return "\n".join([*lines, f"means over {len(rows)} seeds, and 95 % intervals of the difference"])
