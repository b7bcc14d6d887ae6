"""A trained generator as a program for the page: a list of plain operations, and their numbers.

The page draws in the browser, where there is no PyTorch. So what `draw` computes is written down as steps
that a few lines of JavaScript can run (src/condgen/reporting/page/network.js): a file in the safetensors
format, whose metadata `program` is JSON with the steps, the classes and the shape of an image.
"""

import copy
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from condgen.base import files, random
from condgen.models.cgan import CGAN
from condgen.models.cvae import CVAE
from condgen.models.layers import Up
from condgen.models.priors import ClassGaussian, Coupling, Flow
from condgen.sampling import drawing
from condgen.sampling.generator import Generator

# The page has at most 4 MB; this much of it may be weights, compressed and in base64.
MOST_CHARACTERS = 2_900_000
PRECISIONS = ("float32", "float16", "int8")  # the largest models are rounded until all fit
COMPARED = 10  # images of each class that are drawn with rounded weights, to say what rounding changes
ROUNDED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def write(folder: str | Path, generators: Mapping[str, Generator], most: int = MOST_CHARACTERS) -> None:
    """Writes <model>.safetensors for each generator that fits, and playground.json.

    playground.json has for each model either `left_out`, a sentence that says why it has no program, or
    `weights` (one of PRECISIONS), `numbers` (how many), `latent_dim` and, of rounded weights,
    `mean_difference` and `largest_difference` of pixels from unrounded ones: grey levels, of COMPARED images
    of each class. Raises UserError if a model draws NaN.
    """
    about: dict[str, dict[str, Any]] = {
        name: {"left_out": f"It was trained without labels ({name}.conditional is false), so it cannot be "
                           f"told what to draw."}
        for name, model in generators.items()
        if not model.conditional
    }  # fmt: skip
    precisions = {name: PRECISIONS[0] for name in generators if name not in about}
    packed = {name: pack(generators[name]) for name in precisions}
    sizes = {name: characters(content) for name, content in packed.items()}
    while sum(sizes.values()) > most:
        coarser = [name for name in packed if precisions[name] != PRECISIONS[-1]]
        if coarser:  # round the largest of those that can be rounded further
            name = max(coarser, key=sizes.__getitem__)
            precisions[name] = PRECISIONS[PRECISIONS.index(precisions[name]) + 1]
            packed[name] = pack(generators[name], precisions[name])
            sizes[name] = characters(packed[name])
        else:
            name = max(packed, key=sizes.__getitem__)
            about[name] = {
                "left_out": f"Its weights would take {sizes[name] / 1e6:.1f} MB of this page, even with 8 "
                f"bits each, and there is room for {most / 1e6:.1f} MB."
            }
            del packed[name], sizes[name], precisions[name]
    about |= {name: _about(generators[name], precision) for name, precision in precisions.items()}
    for name, content in packed.items():
        files.write(Path(folder, f"{name}.safetensors"), content)
    files.write_json(Path(folder, "playground.json"), {name: about[name] for name in generators})


def characters(content: bytes) -> int:
    """How many characters the page needs for this file: compressed, in base64."""
    return -(-len(gzip.compress(content, mtime=0)) // 3) * 4


def pack(generator: Generator, precision: str = "float32") -> bytes:
    """The generator's program as a file, its weights in this precision; the rest stays float32.

    float16: rounded to nearest. int8: whole numbers in [-127, 127], and a float32 factor for each row (the
    first axis), as `<name>.scale`.
    """
    from safetensors.numpy import save

    spec, program = generator.spec, Program(precision)
    if isinstance(generator.network, CVAE):
        _cvae(program, generator.network)
    else:
        _cgan(program, cast(CGAN, generator.network))
    separators = drawing.SEPARATORS if all(len(name) == 1 for name in spec.classes) else ""
    if separators:
        program.tensors["separators"] = np.stack([drawing.glyph(c, spec) for c in separators])
    about = {
        "model": generator.name,
        "latent_dim": generator.latent_dim,
        "classes": spec.classes,
        "side": spec.side,
        "channels": spec.channels,
        "separators": separators,
        "steps": program.steps,
    }
    # One key: the order of several would be another one in every run.
    return save(program.tensors, metadata={"program": json.dumps(about)})


class Program:
    """Steps and their tensors. A step's value that names a tensor stands for it."""

    def __init__(self, precision: str):
        self.precision = precision
        self.steps: list[dict[str, Any]] = []
        self.tensors: dict[str, np.ndarray] = {}

    def add(self, op: str, **values: Any) -> None:
        """A step; a module among the values stands for its weight and bias."""
        step: dict[str, Any] = {"op": op}
        for key, value in values.items():
            name = f"{len(self.steps)}.{key}"
            if isinstance(value, nn.Module):
                encoded = encode(cast(Tensor, value.weight), self.precision)
                self.tensors |= {f"{name}.weight{end}": array for end, array in encoded.items()}
                self.tensors[f"{name}.bias"] = _array(cast(Tensor, value.bias))
                step |= {f"{key}.weight": f"{name}.weight", f"{key}.bias": f"{name}.bias"}
            elif isinstance(value, Tensor):
                self.tensors[name] = _array(value)
                step[key] = name
            else:
                step[key] = value
        self.steps.append(step)

    def layers(self, layers: nn.Sequential) -> None:
        """The steps of layers. Raises TypeError on a layer that has none."""
        for layer in layers:
            match layer:
                case nn.Linear():
                    self.add("linear", layer=layer)
                case nn.ConvTranspose2d():
                    self.add("conv_transpose", layer=layer, stride=layer.stride[0], padding=layer.padding[0])
                case nn.Conv2d():
                    self.add("conv", layer=layer, padding=layer.padding[0])
                case nn.GroupNorm():
                    self.add("group_norm", groups=layer.num_groups, eps=layer.eps,
                             scale=layer.weight, shift=layer.bias)  # fmt: skip
                case nn.BatchNorm2d():  # in eval mode: a factor and a shift for each channel
                    assert layer.running_mean is not None, "batch normalisation without statistics"
                    assert layer.running_var is not None
                    weight, bias, mean, variance = (  # not every accelerator has float64
                        tensor.cpu().double()
                        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var)
                    )
                    scale = weight / (variance + layer.eps).sqrt()
                    self.add("scale_shift", scale=scale, shift=bias - mean * scale)
                case nn.Unflatten():
                    self.add("reshape", shape=list(layer.unflattened_size))
                case nn.ReLU():
                    self.add("leaky_relu", slope=0)
                case _:
                    raise TypeError(f"the page has no operation for {layer}")

    def image(self, layers: nn.Module) -> None:
        """From the last hidden layer to linear pixels: convolutions or one linear layer."""
        if isinstance(layers, Up):
            self.layers(layers.layers)
            self.add("crop", side=layers.side)
        else:
            self.add("linear", layer=layers)


def _cvae(program: Program, network: CVAE) -> None:
    """As `models.cvae.draw`."""
    prior = network.prior
    gaussian = prior if isinstance(prior, ClassGaussian) else prior.base if isinstance(prior, Flow) else None
    if gaussian is not None:
        program.add("class_gaussian", mu=gaussian.mu, sigma=torch.exp(gaussian.logvar.cpu().double() / 2))
    if isinstance(prior, Flow):
        for coupling in prior.couplings:
            assert isinstance(coupling, Coupling)
            first, second, third = (layer for layer in coupling.network if isinstance(layer, nn.Linear))
            program.add("coupling", kept=coupling.kept, limit=coupling.LIMIT, gain=coupling.gain,
                        first=first, second=second, third=third)  # fmt: skip
    program.add("label")
    program.layers(network.decoder)
    program.image(network.logits)
    program.add("sigmoid")


def _cgan(program: Program, network: CGAN) -> None:
    """As `models.cgan.draw`: without dropout, and with D's spectral norm out of it."""
    program.add("label")
    if network.G.hidden is not None:
        for layer in (network.G.hidden.hidden1, network.G.hidden.hidden2):
            program.add("linear", layer=layer)
            program.add("leaky_relu", slope=network.G.hidden.leak)
    program.image(network.G.out)
    program.add("tanh")
    program.add("rescale", scale=0.5, shift=0.5)


def encode(weight: Tensor, precision: str) -> dict[str, np.ndarray]:
    """End of a name -> array: "" the weights, in int8 also ".scale", a factor for each row."""
    if precision == "float32":
        return {"": _array(weight)}
    if precision == "float16":
        most = torch.finfo(torch.float16).max
        return {"": weight.detach().cpu().clamp(-most, most).half().numpy()}
    rows = weight.detach().cpu().flatten(1)
    scale = rows.abs().amax(dim=1).clamp_min(1e-30) / 127
    whole = (rows / scale[:, None]).round().to(torch.int8)
    return {"": whole.view(weight.shape).numpy(), ".scale": scale.numpy()}


def decode(encoded: Mapping[str, np.ndarray]) -> Tensor:
    """The float32 weights that `encode` stands for, as the page computes with them."""
    weight = torch.from_numpy(encoded[""]).float()
    if ".scale" in encoded:
        weight *= torch.from_numpy(encoded[".scale"]).view(-1, *[1] * (weight.ndim - 1))
    return weight


def rounded(generator: Generator, precision: str) -> Generator:
    """The generator with the weights that the page computes with."""
    network = copy.deepcopy(generator.network)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ROUNDED) and not parametrize.is_parametrized(module):
                module.weight.copy_(decode(encode(module.weight, precision)))
    return Generator(generator.name, network, generator.md5, generator.device)


def _about(model: Generator, precision: str) -> dict[str, Any]:
    """What playground.json says of a model that fits."""
    program = Program("float32")
    (_cvae if isinstance(model.network, CVAE) else _cgan)(program, cast(Any, model.network))
    found: dict[str, Any] = {
        "weights": precision,
        "numbers": sum(array.size for array in program.tensors.values()),
        "latent_dim": model.latent_dim,
    }
    if precision == "float32":
        return found
    labels = model.spec.every_class(COMPARED)
    z = torch.randn(len(labels), model.latent_dim, generator=random.generator(0, "playground"))
    exact, drawn = (m.draw(z, labels).astype(int) for m in (model, rounded(model, precision)))
    away = np.abs(exact - drawn)
    return found | {
        "mean_difference": round(float(away.mean()), 3),
        "largest_difference": int(away.max()),
    }


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().contiguous().numpy()
