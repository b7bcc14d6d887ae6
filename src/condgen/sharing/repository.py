"""A model in the layout of a Hugging Face model repository; `condgen draw --model FOLDER` reads it, too."""

from pathlib import Path

import torch

from condgen.base import files
from condgen.sampling import generator
from condgen.sampling.drawing import new_folder
from condgen.sampling.generator import Generator
from condgen.sharing import card, onnx
from condgen.sharing.origin import Origin


def write(folder: str | Path, model: Generator, origin: Origin, half: bool = False) -> None:
    """Writes model.safetensors, config.json, model.onnx, origin.json and README.md, the model card.

    half: the weights as float16, half the size; model.onnx has the same rounded numbers. The folder appears
    whole or not at all. Raises UserError if it exists and is not empty, if the model cannot draw a class on
    request, or if a package is missing.
    """
    generator.check_conditional(model)
    onnx.check_packages()
    dtype = torch.float16 if half else torch.float32
    with new_folder(folder) as new:
        state, config = generator.slim(model, dtype)
        files.write_model(new, state, config)
        written = generator.load(new, name=model.name)  # what is there is what is exported
        files.write(new / "model.onnx", onnx.export(written))
        origin.write(new)
        numbers = sum(t.numel() for t in state.values() if t.is_floating_point())
        about = card.text(written, origin, str(dtype).removeprefix("torch."), numbers)
        files.write(new / "README.md", about.encode())
