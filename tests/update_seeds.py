"""Writes docs/seeds.csv and docs/best_seeds.csv: every metric of finished runs, over seeds.

`make seeds` and `make best-seeds` call it. A file whose runs are missing stays as it is.
"""

import sys
from pathlib import Path

from pandas import DataFrame

from condgen.base import files
from condgen.base.errors import UserError
from condgen.evaluation import catalog
from condgen.experiments import climb, pooling, recipes, replication
from condgen.tracking import store
from update_docs import BEST_SEEDS, SEEDS

WANTED = [*"01234"]  # as `make seeds` trains them


def write(path: Path, runs: DataFrame) -> None:
    """Takes the setting (code, data) that has the seeds WANTED and no others; the latest of several."""
    names = [f"{model}.{metric.key}" for metric in catalog.METRICS for model in ("cvae", "cgan")]
    metrics = list(dict.fromkeys([*names, *replication.METRICS]))
    _, rows = pooling.group(runs, metrics)
    complete = [row for row in rows if row.seeds == WANTED]
    if not complete:
        raise UserError("no setting has finished runs of just the seeds 0 to 4")
    row = complete[-1]
    files.write(path, pooling.as_csv([row]).encode())
    print(f"{path}: {len(row.seeds)} seeds, {row.settings or 'all else alike'}")
    print(pooling.left_out(runs, metrics) or "no run is left out")


def main() -> None:
    written = 0
    try:
        runs = store.finished(store.existing())
        for path, values in ((SEEDS, {}), (BEST_SEEDS, recipes.read("best"))):
            try:
                write(path, climb.with_values(runs, values))
                written += 1
            except UserError as error:
                print(f"{path} stays as it is: {error}")
    except UserError as error:
        sys.exit(f"condgen: {error}")
    sys.exit(not written)


if __name__ == "__main__":
    main()
