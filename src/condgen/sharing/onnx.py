"""A trained model as an ONNX file: labels and noise in, pictures out."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from condgen.base.errors import UserError
from condgen.models import MODELS
from condgen.sampling.generator import Generator

NEEDED = ("onnx", "onnxscript")
EXTRA = "pip install -c constraints.txt -e '.[export]' (in a checkout), or pip install 'condgen[export]'"
TOLERANCE = 1e-5  # between the network and the file, of pixels in [0, 1]


class Drawing(nn.Module):
    """labels int64 `[n]`, noise `[n, latent_dim]` from N(0, I) -> pictures in [0, 1].

    `[n, side, side]`, or `[n, side, side, 3]` in colour, as in files.
    """

    def __init__(self, model: Generator):
        super().__init__()
        self.network, self.spec = model.network, model.spec
        self.module = MODELS[model.name].module

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        maps = self.spec.maps(self.module.draw(self.network, noise, labels))
        return maps.squeeze(1) if self.spec.channels == 1 else maps.permute(0, 2, 3, 1)


def check_packages() -> None:
    """Raises UserError if a package that writes ONNX is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}: {EXTRA}")


def export(model: Generator) -> bytes:
    """The file; for a conditional model on the CPU. Any number of pictures can be drawn at once.

    By PyTorch's exporter of 2.5 and later, on torch.export: the older one is deprecated. What both write
    of the code, with the paths of its files, is removed. Raises UserError if the file draws anything else.
    """
    check_packages()
    drawing, (labels, noise) = Drawing(model).eval(), _inputs(model, 2)
    dynamic = torch.export.Dim
    program = torch.onnx.export(
        drawing,
        (labels, noise),
        dynamo=True,
        input_names=["labels", "noise"],
        output_names=["pictures"],
        # Both are the same number; two names for it would be a warning.
        dynamic_shapes={"labels": {0: dynamic("n")}, "noise": {0: dynamic.AUTO}},
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    content = proto.SerializeToString()
    _check(content, drawing, model)
    return content


def _inputs(model: Generator, n: int) -> tuple[Tensor, Tensor]:
    noise = torch.randn(n, model.latent_dim, generator=torch.Generator().manual_seed(n))
    return torch.arange(n) % model.spec.count, noise


def _strip(message: Any) -> None:
    """Removes the notes of an exporter, at any depth of a protobuf message: names of code and its files."""
    for field in ("metadata_props", "doc_string"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def _check(content: bytes, drawing: Drawing, model: Generator) -> None:
    """Raises UserError if onnxruntime, where it is installed, draws anything else than the network."""
    if find_spec("onnxruntime") is None:
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n in (1, 3 * model.spec.count):
        labels, noise = _inputs(model, n)
        (found,) = session.run(None, {"labels": labels.numpy(), "noise": noise.numpy()})
        difference = float((torch.from_numpy(found) - drawing(labels, noise)).abs().max())
        if not difference <= TOLERANCE:
            raise UserError(f"the ONNX file differs from the network by {difference:g} (at most {TOLERANCE})")
