"""`python -m condgen compare`: what finished runs came to, over seeds."""

import argparse
import sys
from pathlib import Path

from condgen.errors import UserError

METRICS = ["class_accuracy", "frechet_distance", "recall", "coverage", "gan_train"]


def main(words: list[str] | None = None) -> None:
    """Runs a command; a UserError is one line on stderr and status 1."""
    parser = argparse.ArgumentParser(prog="python -m condgen", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    c = commands.add_parser("compare", help="one table of all finished runs: mean and spread over seeds")
    c.add_argument("--metric", action="append", metavar="NAME", help=f"any of a run's; default {METRICS}")
    c.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    c.add_argument("--png", type=Path, metavar="FILE", help="draw the table")
    arguments = parser.parse_args(words)
    try:
        compare(arguments)
    except UserError as error:
        sys.exit("condgen: " + " ".join(str(error).split()))


def compare(arguments: argparse.Namespace) -> None:
    """Prints the table, and writes it where asked."""
    from condgen import compare, figures, files, tracking

    runs = tracking.finished()
    metrics = compare.choose(arguments.metric or METRICS, runs)
    differing, rows = compare.group(runs, metrics)
    print(compare.text(differing, rows))
    if arguments.csv:
        files.write(arguments.csv, compare.as_csv(rows).encode())
    if arguments.png:
        figures.comparison(arguments.png, rows)


if __name__ == "__main__":
    main()
