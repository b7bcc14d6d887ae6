"""Writes docs/seeds.csv: every metric of the finished runs, over seeds. `make seeds` calls it."""

import sys

from condgen.base import files
from condgen.base.errors import UserError
from condgen.evaluation import catalog
from condgen.experiments import pooling, replication
from condgen.tracking import store
from update_docs import SEEDS

WANTED = [*"01234"]  # as `make seeds` trains them


def main() -> None:
    """Takes the setting (code, parameters) that has the seeds WANTED and no others; the latest of several."""
    names = [f"{model}.{metric.key}" for metric in catalog.METRICS for model in ("cvae", "cgan")]
    try:
        runs = store.finished(store.existing())
        metrics = list(dict.fromkeys([*names, *replication.METRICS]))
        _, rows = pooling.group(runs, metrics)
    except UserError as error:
        sys.exit(f"condgen: {error}")
    complete = [row for row in rows if row.seeds == WANTED]
    if not complete:
        sys.exit("condgen: no setting has finished runs of just the seeds 0 to 4: 'make seeds' trains them")
    row = complete[-1]
    files.write(SEEDS, pooling.as_csv([row]).encode())
    print(f"{SEEDS}: {len(row.seeds)} seeds, {row.settings or 'all else alike'}")
    print(pooling.left_out(runs, metrics) or "no run is left out")


if __name__ == "__main__":
    main()
