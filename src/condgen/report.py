"""Numbers and pictures -> the table of results and data/report.html, one self-contained page."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from condgen import figures, files
from condgen.errors import UserError

TYPES = {".png": "image/png", ".gif": "image/gif"}


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """The table of results, a header and a row for each of CVAE, CGAN and real digits.

    results: what data/metrics/evaluate.json holds.
    """
    table = [["", "Class accuracy, % ↑", "Fréchet distance ↓", "Images"]]
    for name in ("cvae", "cgan", "real"):
        r = results[name]
        table.append(
            [
                figures.NAMES[name],
                f"{100 * r['class_accuracy']:.1f}",
                f"{r['frechet_distance']:.2f}",
                f"{r['images']:,}",
            ]
        )
    return table


def markdown(results: Mapping[str, Any]) -> str:
    """The table of results in Markdown: README and the MLflow parent's description show it."""
    header, *body = rows(results)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n{caption(results)}"


def caption(results: Mapping[str, Any]) -> str:
    """What the numbers were measured on and with, in plain words."""
    right = f"{100 * results['classifier']['test_accuracy']:.2f} % right on test digits"
    return (
        f"Data: {results['data']}. Class accuracy: how often a classifier ({right}) reads the digit that "
        f"was asked for. Fréchet distance: to {results['reference_images']:,} test digits, in that "
        "classifier's features. Real digits are training images, measured in the same way: the best that "
        "either column can be expected to show."
    )


def accuracy_rows(accuracy: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Rows for `dvc plots`: each digit with every set's class accuracy."""
    return [
        {"digit": digit} | {name: values[digit] for name, values in accuracy.items()} for digit in range(10)
    ]


def html(path: str | Path, results: Mapping[str, Any], pictures: Sequence[tuple[str, str, str]]) -> None:
    """Writes the page. pictures: (title, explanation, file), shown in that order.

    A picture whose file is missing is left out (there is a manifold only where the latent space is 2-D).
    """
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = template.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    ).render(
        rows=rows(results),
        caption=caption(results),
        bundled="bundled" in results["data"],
        data=results["data"],
        pictures=[(t, text, _inline(file)) for t, text, file in pictures if Path(file).exists()],
    )
    files.write(path, page.encode())


def _inline(file: str) -> str:
    """A picture as a data: address, so that the page is one file."""
    suffix = Path(file).suffix
    if suffix not in TYPES:
        raise UserError(f"{file} is no picture: allowed are {', '.join(TYPES)}")
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(Path(file).read_bytes()).decode()}"
