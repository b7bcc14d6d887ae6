"""Draws with trained models, runs recipes and sweeps, and compares, traces and delivers finished runs."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from condgen.base.errors import UserError

if TYPE_CHECKING:
    from condgen.datasets import data

REGISTRY = ("models:/", "runs:/")  # how the addresses of MLflow's models begin
METRICS = ["class_accuracy", "frechet_distance", "recall", "coverage", "gan_train"]
MODEL = (
    "cvae or cgan (the one in data/models, else the package's), cgan-best (the package's), a folder, "
    "or an address such as models:/condgen-cgan@champion"
)


def main(words: list[str] | None = None) -> None:
    """Runs a command; on a UserError or Ctrl-C prints one line on stderr and exits with status 1."""
    from condgen import preflight
    from condgen.tracking import address

    preflight.configure_threads()  # before a command imports PyTorch
    address.configure()  # before a command imports MLflow
    try:
        arguments = parser().parse_args(words)
        arguments.run(arguments)
    except UserError as error:
        sys.exit("condgen: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit("condgen: interrupted")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="condgen", description=__doc__)
    commands = p.add_subparsers(dest="command", required=True)

    c = commands.add_parser("draw", help="draw a number, a date or any classes as a PNG picture")
    c.add_argument("text", help="digits, such as 2026-11-22, or names of classes, such as 'bag, coat'")
    c.add_argument("--model", default="cgan", help=f"{MODEL}; or both: a row of each; default cgan")
    c.add_argument("--out", type=_png, metavar="FILE.png", help="default: a new file here, named by the text")
    c.add_argument("--variants", type=int, default=1, metavar="N", help="rows, each with its own noise")
    c.add_argument("--scale", type=int, default=4, help="side of one of the model's pixels")
    _noise(c)
    c.set_defaults(run=draw)

    c = commands.add_parser("export", help="draw a labelled data set: idx files and PNG pictures")
    count = c.add_mutually_exclusive_group(required=True)
    count.add_argument("--per-class", type=int, metavar="N", help="training images per class")
    count.add_argument(
        "--balance",
        action="store_true",
        help="the data set itself, each class filled up to the largest with drawn images",
    )
    c.add_argument(
        "--test-per-class", type=int, metavar="N", help="test images per class; default a sixth, as in MNIST"
    )
    c.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="must not exist, or be empty")
    c.add_argument("--model", default="cgan", help=f"{MODEL}; default cgan")
    _noise(c)
    c.set_defaults(run=export)

    c = commands.add_parser("export-model", help="write a model as ONNX and safetensors, with a card")
    c.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="must not exist, or be empty")
    c.add_argument("--model", default="cgan", help=f"{MODEL}; default cgan")
    c.add_argument("--half", action="store_true", help="weights as float16: half the size")
    c.set_defaults(run=export_model)

    c = commands.add_parser("demo", help="show the report of a run in the browser, from this machine only")
    c.add_argument(
        "address", nargs="?", metavar="ADDRESS", help="models:/... or runs:/...; default: the last run"
    )
    c.add_argument("--port", type=int, default=8000, help="default 8000; 0: any that is free")
    c.add_argument("--open", action="store_true", help="open the browser, too")
    c.set_defaults(run=demo)

    c = commands.add_parser("augment", help="does a classifier gain by drawn images of the rare classes?")
    c.add_argument("--model", default="cgan", help=f"{MODEL}; default cgan")
    c.add_argument("--seeds", type=int, default=5, metavar="N", help="classifiers of each kind; default 5")
    c.add_argument("--csv", type=_file, metavar="FILE", help="write each seed's accuracies as CSV")
    c.set_defaults(run=augment)

    c = commands.add_parser("compare", help="one table of all finished runs: mean and spread over seeds")
    c.add_argument("--metric", action="append", metavar="NAME", help=f"a run's metric; default {METRICS}")
    c.add_argument("--claims", action="store_true", help="judge the article's claims by intervals over seeds")
    c.add_argument("--csv", type=_file, metavar="FILE", help="write the table as CSV")
    c.add_argument("--png", type=_png, metavar="FILE", help="draw the table")
    c.set_defaults(run=compare)

    c = commands.add_parser("recipe", help="run a recipe of recipes/ as a DVC experiment of its name")
    c.add_argument("name", help="such as best; ladder runs every rung")
    c.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="also set this, as seed=1"
    )
    c.set_defaults(run=recipe)

    c = commands.add_parser("ladder", help="what each rung of recipes/ladder.yaml bought, from finished runs")
    c.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="what every run set besides"
    )
    c.add_argument("--csv", type=_file, metavar="FILE", help="write the table as CSV")
    c.add_argument("--png", type=_png, metavar="FILE", help="draw the table")
    c.set_defaults(run=ladder)

    c = commands.add_parser("sweep", help="run many experiments, searched by Ray Tune")
    c.add_argument("file", type=Path, help="such as sweeps/lr.yaml")
    c.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster; default: this machine alone")
    c.add_argument("--dry-run", action="store_true", help="only list the trials")
    c.add_argument("--resume", action="store_true", help="go on with a sweep that was stopped")
    c.set_defaults(run=sweep)

    c = commands.add_parser(
        "human-test", help="pool results of the page's game: how often people were fooled"
    )
    c.add_argument("files", nargs="+", type=Path, metavar="FILE", help="lines that the page gave, one a game")
    c.set_defaults(run=human_test)
    c = commands.add_parser("doctor", help="check whether this machine can use git, DVC, MLflow and Ray")
    c.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster, to be checked too")
    c.set_defaults(run=doctor)

    c = commands.add_parser(
        "prune", help="remove old runs and experiments, and files that only old commits name"
    )
    c.add_argument("--older-than", required=True, metavar="AGE", help="such as 30d, 12h or 4w")
    c.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    c.add_argument("--yes", action="store_true", help="do not ask")
    c.set_defaults(run=prune)

    c = commands.add_parser("trace", help="which run made a file and from what; or what a run read and wrote")
    c.add_argument("what", help="a file or folder, the id of a run, or the name of a pipeline run")
    c.set_defaults(run=trace)

    c = commands.add_parser("deliver", help="send to MLflow what could not be sent while stages ran")
    c.add_argument("--to", metavar="ADDRESS", help="a store other than the intended one")
    c.set_defaults(run=deliver)

    c = commands.add_parser(
        "relocate", help="after a copy or a move of a checkout: its runs find their artifacts"
    )
    c.set_defaults(run=relocate)
    return p


def _file(text: str) -> Path:
    """A file to write; of a link, its target. Raises UserError: a device or a pipe would become a file."""
    if os.path.exists(text) and not os.path.isfile(text):
        raise UserError(f"{text} must be a file, but is a folder, a device or a pipe")
    return Path(os.path.realpath(text) if os.path.islink(text) else text)


def _png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise UserError(f"{text} must end in .png")
    return _file(text)


def _noise(c: argparse.ArgumentParser) -> None:
    c.add_argument("--seed", type=int, default=0, help="seed of the noise; default 0")
    c.add_argument("--temperature", type=float, default=1.0, help="scales the noise; default 1, the prior")


def draw(arguments: argparse.Namespace) -> None:
    """Writes the picture."""
    from condgen.models import MODELS
    from condgen.sampling import drawing, generator

    a = arguments
    names = list(MODELS) if a.model == "both" else [a.model]
    models = [generator.load(_folder(name)) for name in names]
    out = a.out or drawing.new_name(a.text)
    drawing.draw(out, a.text, models, a.variants, a.seed, a.temperature, a.scale)
    print(out)


def export_model(arguments: argparse.Namespace) -> None:
    """Writes the model repository."""
    from condgen.sampling import generator
    from condgen.sharing import origin, repository

    folder = _folder(arguments.model)
    model = generator.load(folder)
    if arguments.model.startswith(REGISTRY):
        from condgen.tracking import lineage, store

        trained, results = lineage.measured(store.existing(), model.name, model.md5)
        known = origin.known(trained, results, model.name)
    else:
        known = origin.find(folder, model)
    repository.write(arguments.out, model, known, arguments.half)
    print(arguments.out)


def demo(arguments: argparse.Namespace) -> None:
    """Serves the report until Ctrl-C."""
    from condgen.sharing import demo

    page = demo.PAGE
    if arguments.address is not None:
        from condgen.tracking import registry

        if not arguments.address.startswith(REGISTRY):
            raise UserError(
                f"the address is {arguments.address}, but must begin with {' or '.join(REGISTRY)}"
            )
        page = registry.report(arguments.address)
    demo.serve(page, arguments.port, lambda line: print(line, flush=True), arguments.open)


def export(arguments: argparse.Namespace) -> None:
    """Writes the data set."""
    from condgen.sampling import drawing, generator

    a = arguments
    if a.balance and a.test_per_class is not None:
        raise UserError("--test-per-class has no meaning with --balance, whose test images are the real ones")
    if a.balance:
        from condgen.experiments import augment

        real, drawn = augment.export(a.out, generator.load(_folder(a.model)), _split(), a.seed, a.temperature)
        print(f"{a.out}: {real} real and {drawn} drawn training images")
        return
    test = max(1, a.per_class // 6) if a.test_per_class is None else a.test_per_class
    model = generator.load(_folder(a.model))
    drawing.export(a.out, model, a.per_class, test, a.seed, a.temperature)
    classes = model.spec.count
    print(f"{a.out}: {classes * a.per_class} training and {classes * test} test images")


def augment(arguments: argparse.Namespace) -> None:
    """Trains classifiers with and without drawn images; prints the table."""
    from condgen.base import files, params
    from condgen.experiments import augment
    from condgen.models.classifier import ClassifierParams
    from condgen.sampling import generator

    generator.within("seeds", arguments.seeds, 1, 1000)
    split, p = _split(), params.read(ClassifierParams)
    rows = augment.compare(p, generator.load(_folder(arguments.model)), split, range(arguments.seeds))
    print(augment.text(rows, split))
    if arguments.csv:
        files.write_csv(arguments.csv, rows)


def _split() -> "data.Split":
    """The data set of this checkout, split as params.yaml says."""
    from condgen.base import params
    from condgen.datasets import data

    return data.load("data/dataset.npz", params.read(data.SplitParams))


def _folder(model: str) -> Path:
    from condgen.sharing import packaged

    trained = Path("data/models", model)
    if model in ("cvae", "cgan") and trained.exists():
        return trained
    if model in packaged.NAMES:
        found = packaged.find(model)
        why = "" if model not in ("cvae", "cgan") else f"{trained} does not exist: "
        print(f"condgen: {why}drawing with {packaged.about(model)}", file=sys.stderr)
        return found
    if model.startswith(REGISTRY):
        from condgen.tracking import registry

        return registry.fetch(model)
    if "://" in model:
        raise UserError(f"--model is {model}, but must be {MODEL}")
    return Path(model)


def compare(arguments: argparse.Namespace) -> None:
    """Prints the table, and writes it to the files that are named."""
    from condgen.base import files
    from condgen.experiments import pooling, replication
    from condgen.reporting import figures
    from condgen.tracking import store

    runs = store.finished(store.existing())
    metrics = pooling.choose(arguments.metric or METRICS, runs)
    differing, rows = pooling.group(runs, metrics)
    said = [pooling.text(differing, rows), pooling.left_out(runs, metrics), pooling.mixed(rows)]
    if arguments.claims:
        judged = replication.metrics(runs)
        said += ["\n" + replication.verdicts(replication.rows(runs)), pooling.left_out(runs, judged)]
    print("\n".join(filter(None, said)))
    if arguments.csv:
        files.write(arguments.csv, pooling.as_csv(rows).encode())
    if arguments.png:
        figures.comparison(arguments.png, rows)


def recipe(arguments: argparse.Namespace) -> None:
    """Runs the experiment, or those of the ladder, beside the workspace."""
    from condgen.experiments import recipes

    extra = recipes.given(arguments.set)
    end = "".join(f"-{key}-{value}" for key, value in extra.items()).replace("/", "-")  # DVC refuses a slash
    if arguments.name != recipes.LADDER:
        recipes.run(arguments.name + end, recipes.read(arguments.name) | extra, "--temp")
        return
    for name, values in recipes.experiments(recipes.ladder()).items():
        recipes.run(name + end, values | extra, "--queue")
    recipes.run_queue()


def ladder(arguments: argparse.Namespace) -> None:
    """Prints the table, and writes it to the files that are named."""
    from condgen.base import files
    from condgen.experiments import climb, recipes
    from condgen.reporting import figures
    from condgen.tracking import store

    runs, extra = store.finished(store.existing()), recipes.given(arguments.set)
    rungs = climb.measured(recipes.ladder(), runs, extra)
    print(climb.text(rungs))
    if arguments.csv:
        files.write(arguments.csv, climb.as_csv(rungs).encode())
    if arguments.png:
        figures.ladder(arguments.png, rungs)


def sweep(arguments: argparse.Namespace) -> None:
    """Runs the trials and prints their table; status 1 if one failed."""
    from condgen.sweeps import plan, search

    a = arguments
    found = plan.read(a.file)
    if a.dry_run:
        print(plan.listed(found, a.file))
        return
    trials = search.run(a.file, found, a.address, a.resume, lambda line: print(line, flush=True))
    print(search.text(trials, found, a.address is not None))
    with suppress(UserError):  # all is done, whether MLflow answers or not
        print(search.save_view(a.file.stem))
    failed = sum(trial.failed for trial in trials)
    if failed:
        raise UserError(f"{failed} of {len(trials)} trials failed")


def human_test(arguments: argparse.Namespace) -> None:
    """Prints the table, and on stderr a line for each line that does not count; status 1 if there is one."""
    from condgen.evaluation import human

    answers, bad = human.read(arguments.files)
    if answers:
        print(human.table(answers))
    print(*bad, sep="\n", end="\n" if bad else "", file=sys.stderr)
    if bad or not answers:
        raise UserError(f"{len(bad)} lines do not count, {len(answers)} do")


def doctor(arguments: argparse.Namespace) -> None:
    """Prints a line for each check; status 1 if one failed."""
    from condgen.team import doctor

    doctor.main(arguments.address)


def prune(arguments: argparse.Namespace) -> None:
    """Lists what is old, asks, and removes it."""
    from condgen.team import prune

    a, ask = arguments, input if sys.stdin.isatty() else None
    prune.prune(a.older_than, a.dry_run, a.yes, lambda line: print(line, flush=True), ask)


def trace(arguments: argparse.Namespace) -> None:
    """Prints what is known of a file or a run."""
    from condgen.tracking import lineage, store

    print(lineage.trace(store.existing(), arguments.what))


def deliver(arguments: argparse.Namespace) -> None:
    """Delivers every journal in the outbox whose stage has ended; status 1 if any is left."""
    from condgen.base.pipeline import root
    from condgen.tracking import OUTBOX, courier, delivery

    delivered, left = delivery.deliver_all(root() / OUTBOX, courier.say, arguments.to)
    print(f"delivered: {delivered}, left in {root() / OUTBOX}: {left}")
    if left:
        sys.exit(1)


def relocate(arguments: argparse.Namespace) -> None:
    """Makes the runs of a copied or moved data base find their artifacts beside it."""
    from condgen.tracking import address, location, store

    uri = store.existing().uri
    if not uri.startswith(address.SQLITE):
        raise UserError(f"{uri} is a server, which knows where its artifacts are")
    print(location.relocate(Path(uri.removeprefix(address.SQLITE))))


if __name__ == "__main__":
    main()
