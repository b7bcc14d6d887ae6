"""Writes the tables of README.md and docs/*.md, and copies the pictures they show. `make docs` calls it.

The numbers of the last run, and of the experiment `best` if there is one, are first copied to docs, and the
tables are made from the copies. So a run on another machine changes data/metrics, but no page.
"""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen.base import files
from condgen.evaluation import catalog
from condgen.experiments import pooling, replication
from condgen.reporting import figures, report

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "docs/seeds.csv"
BEST_SEEDS = ROOT / "docs/best_seeds.csv"
COPIES = {
    "data/metrics/evaluate.json": "docs/results/evaluate.json",
    "data/plots/sample/article_table.png": "docs/article_table.png",
    "data/plots/sample/cvae_classes.png": "docs/cvae_classes.png",
    "data/plots/sample/cgan_classes.png": "docs/cgan_classes.png",
}
# Of the experiment `best`, by their names in data/.
BEST = {
    "data/metrics/evaluate.json": "data/published/best.json",
    "data/plots/sample/cvae_classes.png": "docs/best_cvae_classes.png",
    "data/plots/sample/cgan_classes.png": "docs/best_cgan_classes.png",
}
BLOCK = "<!-- {0}: written by `make docs` -->\n", "\n<!-- end of {0} -->"


def blocks(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """Page -> name of a block in it -> its text, made from published results, seeds.csv and latest.json."""
    results, best = (
        json.loads((root / copies["data/metrics/evaluate.json"]).read_text(encoding="utf-8"))
        for copies in (COPIES, BEST)
    )
    speed = json.loads((root / "tests/benchmarks/latest.json").read_text(encoding="utf-8"))
    seeds = read_seeds(root / "docs/seeds.csv")
    path = root / "docs/best_seeds.csv"
    best_seeds = read_seeds(path) if path.exists() else None
    numbers, at_best = (
        "\n\n".join([report.metrics_markdown(r), report.caption(r), report.likelihood_markdown(r)])
        for r in (results, best)
    )
    return {
        "README.md": {
            "answer": answer_markdown(results, best),
            "verdicts": verdicts_markdown(results, best, seeds, best_seeds),
        },
        "docs/results.md": {
            "claims": report.claims_markdown(results),
            "seeds": seeds_markdown(seeds),
            "numbers": numbers,
            "best_seeds": seeds_markdown(best_seeds) if best_seeds else "",
            "best_claims": report.claims_markdown(best),
            "best_numbers": at_best,
            "ladder": ladder_markdown(root / "docs/ladder.csv"),
        },
        "docs/speed.md": {"speed": speed_markdown(speed)},
    }


def read_seeds(path: Path) -> pooling.Row:
    """What `make seeds` wrote: (mean, standard deviation) of every metric."""
    (cells,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    names = [key.removesuffix("_mean") for key in cells if key.endswith("_mean")]
    values = {name: (float(cells[name + "_mean"]), float(cells[name + "_sd"])) for name in names}
    return pooling.Row({}, [str(i) for i in range(int(cells["seeds"]))], values)


def verdict_cell(judged: Mapping[str, Any]) -> str:
    return f"**{judged['verdict']}**" + (f", {judged['reason']}" if judged["reason"] else "")


def answer_markdown(results: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """The main numbers of both models, as in the article and at their best, for the README."""
    lines = ["| | CVAE, article | CGAN, article | CVAE, best | CGAN, best | real digits |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for key in report.MAIN:
        cells = [report.cell(of, name, key)[0] for of in (results, best) for name in ("cvae", "cgan")]
        cells.append(report.cell(results, "real", key)[0])
        metric = report.BY_KEY[key]
        lines.append(f"| {metric.name} ({metric.unit}){report.ARROWS[metric.better]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts_markdown(
    results: Mapping[str, Any],
    best: Mapping[str, Any],
    seeds: pooling.Row,
    best_seeds: pooling.Row | None,
) -> str:
    """One row per claim for the README: as in the article, and each model at its best, over seeds.

    What the runs of the seeds lack is judged by the one run.
    """
    columns = [_judged(results, seeds), _judged(best, best_seeds)]
    heads = [f"{len(row.seeds)} seeds" if row else "one run" for row in (seeds, best_seeds)]
    lines = [f"| The article says | As in the article, {heads[0]} | Each at its best, {heads[1]} |"]
    lines.append("|---|---|---|")
    for claim, *cells in zip([judged["claim"] for judged in results["claims"]], *columns, strict=True):
        lines.append(f"| {claim} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _judged(one_run: Mapping[str, Any], seeds: pooling.Row | None) -> list[str]:
    """A cell for each claim."""
    if seeds is None:
        return [verdict_cell(judged) for judged in one_run["claims"]]
    return [
        f"{verdict_cell(one)} (one run)"
        if several["reason"] == "not all was measured"
        else verdict_cell(several)
        for several, one in zip(replication.judge(seeds), one_run["claims"], strict=True)
    ]


def seeds_markdown(row: pooling.Row) -> str:
    """The claims by intervals over seeds, and each metric's mean ± standard deviation."""
    lines = [f"| The article says | Over {len(row.seeds)} seeds |", "|---|---|"]
    for judged in replication.judge(row):
        tests = "; ".join(
            f"{report.metric_name(c['metric'])}: {figures.NAMES[c['below']]} < {figures.NAMES[c['above']]} "
            f"({c['outcome']})"
            for c in judged["comparisons"]
        )
        lines.append(f"| {judged['claim']} | {verdict_cell(judged)}: {tests} |")
    lines += [
        "",
        f"| Mean ± standard deviation over {len(row.seeds)} seeds | CVAE | CGAN |",
        "|---|---:|---:|",
    ]
    for metric in catalog.METRICS:
        both = (_mean_and_spread(row, f"{name}.{metric.key}", metric) for name in ("cvae", "cgan"))
        arrow = report.ARROWS[metric.better]
        lines.append(f"| {metric.name} ({metric.unit}){arrow} | {' | '.join(both)} |")
    return "\n".join(lines)


def _mean_and_spread(row: pooling.Row, key: str, metric: catalog.Metric) -> str:
    if key not in row.values:
        return "–"
    return " ± ".join(f"{number * metric.scale:.{metric.digits}f}" for number in row.values[key])


LADDER_COLUMNS = {
    # heading -> (a metric of a rung, what it is multiplied by, digits)
    "class accuracy (%) ↑": ("class_accuracy", 100, 1),
    "Fréchet distance ↓": ("frechet_distance", 1, 2),
    "precision (%) ↑": ("precision", 100, 1),
    "recall (%) ↑": ("recall", 100, 1),
    "coverage (%) ↑": ("coverage", 100, 1),
    "sharpness → 1": ("sharpness", 1, 2),
    "GAN-train (%) ↑": ("gan_train", 100, 1),
    "training (min)": ("train_seconds", 1 / 60, 1),
}


def ladder_markdown(path: Path) -> str:
    """A table for each model: a row for each rung of the ladder, as `make ladder` wrote them."""
    rungs = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    tables = []
    for model in dict.fromkeys(rung["model"] for rung in rungs):
        lines = [f"| {figures.NAMES[model]} | {' | '.join(LADDER_COLUMNS)} |"]
        lines.append("|---|" + "---:|" * len(LADDER_COLUMNS))
        for rung in (rung for rung in rungs if rung["model"] == model):
            cells = [
                f"{float(rung[metric]) * scale:.{digits}f}" if rung[metric] else "–"
                for metric, scale, digits in LADDER_COLUMNS.values()
            ]
            idea = rung["idea"].replace("|", "\\|")  # it would end the cell
            lines.append(f"| {rung['rung']}: {idea} | {' | '.join(cells)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


SPEED_COLUMNS = {
    # heading -> (name, a training's numbers, its memory) -> cell
    "training": lambda name, row, memory: name,
    "usual loop, images/s": lambda name, row, memory: f"{row['usual_images_per_second']:,.0f}",
    "condgen, images/s": lambda name, row, memory: f"{row['images_per_second']:,.0f}",
    "speed-up": lambda name, row, memory: f"{row['ratio']:.1f}",
    "matmul limit, images/s": lambda name, row, memory: (
        f"{row['sgemm_images_per_second']:,.0f} ({row['sgemm_gflops']:.0f} GFLOP/s)"
    ),
    "% of limit": lambda name, row, memory: f"{100 * row['fraction_of_sgemm']:.0f}",
    "peak memory": lambda name, row, memory: f"{memory['peak_mb']:,.0f} MB",
}


def speed_markdown(bench: Mapping[str, Any]) -> str:
    """The table of `make bench`, and the machine it was measured on."""
    lines = [
        f"| {' | '.join(SPEED_COLUMNS)} |",
        "|---|" + "---:|" * (len(SPEED_COLUMNS) - 1),
    ]
    for name, row in bench["training"].items():
        cells = [cell(name, row, bench["memory"][name]) for cell in SPEED_COLUMNS.values()]
        lines.append(f"| {' | '.join(cells)} |")
    waiting = bench["waiting"]
    lines += ["", f"| CGAN step, images/s | {' | '.join(waiting['alone'])} |", "|---|---:|---:|"]
    places = {"alone": "alone", "busy": "beside two busy processes"}
    lines += [
        f"| {title} | {' | '.join(f'{rate:,.0f}' for rate in waiting[place].values())} |"
        for place, title in places.items()
    ]
    machine, around = bench["machine"], bench["around"]
    outside = sum(around["seconds_outside"].values())
    return "\n".join(lines) + (
        f"\n\n{machine['threads']} threads on {machine['cores']} cores of an {machine['processor']}, "
        f"{machine['capability']}, PyTorch {machine['torch']}; {bench['data']}; medians of {bench['rounds']} "
        f"epochs each, in turn. Outside the stages' own work a `dvc repro` takes {outside:.0f} s (imports, "
        f"MLflow, DVC); with nothing to do, {around['dvc_repro_nothing_to_do_seconds']:.1f} s "
        f"({around['ratio_to_status']:.2f} times `dvc status`)."
    )


def split(text: str, name: str) -> tuple[str, str, str]:
    """(before, inside, after) of a block in a page's text."""
    start, end = (mark.format(name) for mark in BLOCK)
    before, rest = text.split(start)
    inside, after = rest.split(end)
    return before + start, inside, end + after


def copy_of_experiment(name: str, source: str, target: Path) -> None:
    """Copies a file of a DVC experiment; if there is no such experiment, the page keeps what it has."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["dvc", "get", "--quiet", str(ROOT), source, "--rev", name, "--out", f"{folder}/copy"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{target.name} stays as it is: {done.stderr.strip() or 'dvc get failed'}")
        else:
            shutil.copyfile(f"{folder}/copy", target)


def main() -> None:
    missing = [source for source in COPIES if not (ROOT / source).exists()]
    if missing:
        sys.exit(f"condgen: {', '.join(missing)} missing: run 'dvc repro' first")
    for source, target in COPIES.items():
        (ROOT / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, ROOT / target)
    for source, target in BEST.items():
        copy_of_experiment("best", source, ROOT / target)
    for page, parts in blocks().items():
        text = (ROOT / page).read_text(encoding="utf-8")
        for name, content in parts.items():
            before, _, after = split(text, name)
            text = before + content + after
        files.write(ROOT / page, text.encode())


if __name__ == "__main__":
    main()
