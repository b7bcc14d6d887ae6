"""Writes src/condgen/weights, what drawing needs of trained models. `make weights` calls it.

The article's models are those in data/models, the best ones those of the DVC experiment `best`. Each is taken
with the dvc.lock and the results of its run.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

from condgen.base.errors import UserError
from condgen.models import MODELS
from condgen.sampling import generator
from condgen.sharing import origin, packaged

ROOT = Path(__file__).resolve().parents[1]


def experiment(name: str, folder: Path) -> Path | None:
    """The files of a DVC experiment that `origin.find` reads, in a folder; None if there is none."""
    for path in ("dvc.lock", origin.RESULTS, *(f"{origin.MODELS}/{model}" for model in MODELS)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        words = ["dvc", "get", "--quiet", str(ROOT), path, "--rev", name, "--out", str(folder / path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr.strip() or 'dvc get failed'}")
            return None
    return folder


def write(checkout: Path, recipe: str) -> None:
    """Both models of a checkout."""
    suffix = next(end for end, found in packaged.RECIPES.items() if found == recipe)
    for model in MODELS:
        folder = checkout / origin.MODELS / model
        try:
            trained = generator.load(folder, name=model)
            known = dataclasses.replace(origin.find(folder, trained), recipe=recipe)
            if not known.params:
                raise UserError(f"{folder} is not as {checkout}/dvc.lock has it: run 'dvc repro'")
            measured = "" if known.results else ", not measured by this run"
            print(packaged.write(model + suffix, trained, known) + measured)
        except UserError as error:
            print(f"condgen: {error}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--article", type=Path, default=ROOT, metavar="CHECKOUT", help="default: this one")
    p.add_argument(
        "--best", type=Path, metavar="CHECKOUT", help="one with that recipe's run; default: the experiment"
    )
    a = p.parse_args()
    if not (a.article / origin.MODELS).is_dir():
        sys.exit(f"condgen: {a.article / origin.MODELS} is missing: run 'dvc repro' first")
    write(a.article, "article")
    with tempfile.TemporaryDirectory() as folder:
        best = a.best or experiment("best", Path(folder))
        if best is not None:
            write(best, "best")


if __name__ == "__main__":
    main()
