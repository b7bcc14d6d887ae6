"""Writes the table of results into README.md and copies its pictures to docs/. `make readme` calls it."""

import csv
import json
import shutil
from pathlib import Path

from condgen import claims, compare, figures, files, metrics, replication, report

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "docs/seeds.csv"
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
        "seeds": seeds_markdown(SEEDS),
        "speed": speed_markdown(speed),
    }


def seeds_markdown(path: Path) -> str:
    """What `make seeds` wrote: the claims by intervals over seeds, and each metric's mean ± deviation."""
    (cells,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    values = {
        key.removesuffix("_mean"): (float(value), float(cells[key.removesuffix("_mean") + "_sd"]))
        for key, value in cells.items()
        if key.endswith("_mean")
    }
    row = compare.Row({}, [str(i) for i in range(int(cells["seeds"]))], values)
    lines = [f"| The article says | Over {len(row.seeds)} seeds |", "|---|---|"]
    for judged in claims.judge(replication.intervals(row)):
        tests = "; ".join(
            f"{report.metric_name(c['metric'])}: {figures.NAMES[c['below']]} < {figures.NAMES[c['above']]} "
            f"({c['outcome']})"
            for c in judged["comparisons"]
        )
        verdict = f"**{judged['verdict']}**" + (f", {judged['reason']}" if judged["reason"] else "")
        lines.append(f"| {judged['claim']} | {verdict}: {tests} |")
    lines += [
        "",
        f"| Mean ± standard deviation over {len(row.seeds)} seeds | CVAE | CGAN |",
        "|---|---:|---:|",
    ]
    for metric in metrics.METRICS:
        both = (
            " ± ".join(
                f"{number * metric.scale:.{metric.digits}f}" for number in values[f"{name}.{metric.key}"]
            )
            for name in ("cvae", "cgan")
        )
        arrow = report.ARROWS[metric.better]
        lines.append(f"| {metric.name} ({metric.unit}){arrow} | {' | '.join(both)} |")
    return "\n".join(lines)


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
