"""The weights in the package: models that draw after an installation alone, without training.

`cvae` and `cgan` are trained as the article trains them, `cvae-best` and `cgan-best` by recipes/best.yaml.
The package holds those whose file is below MOST_BYTES. tests/update_weights.py writes them.
"""

import tempfile
from pathlib import Path

import torch

from condgen.base import files
from condgen.base.errors import UserError
from condgen.models import MODELS
from condgen.sampling import generator
from condgen.sampling.generator import Generator
from condgen.sharing import origin
from condgen.sharing.origin import Origin

FOLDER = Path(__file__).resolve().parents[1] / "weights"
MOST_BYTES = 999_999
RECIPES = {"": "article", "-best": "best"}
NAMES = {f"{model}{suffix}": recipe for suffix, recipe in RECIPES.items() for model in MODELS}
"""Name -> its recipe."""
HOW = {
    "article": "'make repro' trains it in a checkout of condgen",
    "best": "'make best' trains it in a checkout of condgen, then 'dvc exp apply best', and --model {}",
}


def find(name: str) -> Path:
    """The folder of packaged weights. Raises UserError if the package does not have them."""
    folder = FOLDER / name
    if not (folder / "model.safetensors").is_file():
        how = HOW[NAMES[name]].format(name.removesuffix("-best"))
        raise UserError(f"the package has no weights of {name}, which must be below 1 MB: {how}")
    return folder


def about(name: str) -> str:
    """Whose weights they are, in one line."""
    found = files.read_json(find(name) / origin.FILE)
    return f"{name} of the package: recipe {found['recipe']}, seed {found['params']['seed']}"


def write(name: str, model: Generator, known: Origin) -> str:
    """Writes the weights of a model, in float32 if they are small enough, else in float16.

    Returns what was written, in a line. Raises UserError if the file would still be too large, or if rounding
    moves a pixel by more than a grey level: then what was there is removed.
    """
    for dtype in (torch.float32, torch.float16):
        with tempfile.TemporaryDirectory() as folder:
            files.write_model(folder, *generator.slim(model, dtype))
            size = Path(folder, "model.safetensors").stat().st_size
            moved = _difference(model, generator.load(folder))
        if size <= MOST_BYTES and moved <= 1:
            files.write_model(FOLDER / name, *generator.slim(model, dtype))
            known.write(FOLDER / name)
            return f"{name}: {size:,} bytes, {dtype}".replace("torch.", "")
    for file in (FOLDER / name).glob("*"):
        file.unlink()
    if size > MOST_BYTES:
        raise UserError(f"{name} takes {size:,} bytes in float16, but must take at most {MOST_BYTES:,}")
    raise UserError(f"{name} in float16 moves a pixel by {moved} grey levels, but must by at most 1")


def _difference(a: Generator, b: Generator) -> int:
    """The largest difference between the pixels of what both draw from the same noise, in grey levels."""
    labels = a.spec.every_class(100)
    drawn = (model.images(labels, "weights", 0).astype(int) for model in (a, b))
    return int(abs(next(drawn) - next(drawn)).max())
