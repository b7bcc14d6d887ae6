"""Writes the table of results into README.md and copies its pictures to docs/. `make readme` calls it."""

import json
import shutil
from pathlib import Path

from condgen import files, report

ROOT = Path(__file__).resolve().parents[1]
BLOCK = "<!-- {0}: written by `make readme` -->\n", "\n<!-- end of {0} -->"
PICTURES = {
    "data/plots/sample/article_table.png": "docs/article_table.png",
    "data/plots/sample/cvae_classes.png": "docs/cvae_classes.png",
    "data/plots/sample/cgan_classes.png": "docs/cgan_classes.png",
}


def blocks() -> dict[str, str]:
    """Name of a block in README.md -> what it has to show, from the committed numbers."""
    results = json.loads((ROOT / "data/metrics/evaluate.json").read_text())
    numbers = [report.metrics_markdown(results), report.caption(results), report.likelihood_markdown(results)]
    speed = json.loads((ROOT / "tests/benchmarks/latest.json").read_text())
    return {
        "claims": report.claims_markdown(results),
        "numbers": "\n\n".join(numbers),
        "speed": speed_markdown(speed),
    }


def speed_markdown(bench: dict) -> str:
    """The table of `make bench`, and the machine it was measured on."""
    lines = [
        "| training | usual, images/s | condgen, images/s | times | its products alone | of them | memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in bench["training"].items():
        cells = [
            name,
            f"{row['usual_images_per_second']:,.0f}",
            f"{row['images_per_second']:,.0f}",
            f"{row['ratio']:.1f}",
            f"{row['sgemm_images_per_second']:,.0f} ({row['sgemm_gflops']:.0f} GFLOP/s)",
            f"{100 * row['fraction_of_sgemm']:.0f} %",
            f"{bench['memory'][name]['peak_mb']:,.0f} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machine, around = bench["machine"], bench["around"]
    outside = sum(around["seconds_outside"].values())
    return "\n".join(lines) + (
        f"\n\n{machine['threads']} threads, {machine['cores']} cores of an {machine['processor']}, "
        f"{machine['capability']}, PyTorch {machine['torch']}; {bench['data']}; medians of {bench['rounds']} "
        f"epochs each, in turn. Outside the stages' own work a `dvc repro` takes {outside:.0f} s (imports, "
        f"MLflow, DVC); with nothing to do, {around['dvc_repro_nothing_to_do_seconds']:.1f} s "
        f"({around['ratio_to_status']:.2f} times `dvc status`)."
    )


def split(text: str, name: str) -> tuple[str, str, str]:
    """(before, inside, after) of a block in the README's text."""
    start, end = (mark.format(name) for mark in BLOCK)
    before, rest = text.split(start)
    inside, after = rest.split(end)
    return before + start, inside, end + after


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, content in blocks().items():
        before, _, after = split(text, name)
        text = before + content + after
    files.write(readme, text.encode())
    for source, target in PICTURES.items():
        shutil.copyfile(ROOT / source, ROOT / target)


if __name__ == "__main__":
    main()
