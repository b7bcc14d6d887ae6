"""Writes docs/seeds.csv: every metric of the finished runs, over seeds. `make seeds` calls it."""

import sys

from update_readme import SEEDS

from condgen import compare, files, metrics, replication
from condgen.errors import UserError
from condgen.tracking import store


def main() -> None:
    """Takes the setting with the most seeds; among equals, the first that was run."""
    names = [f"{model}.{metric.key}" for metric in metrics.METRICS for model in ("cvae", "cgan")]
    try:
        runs = store.finished(store.existing())
        _, rows = compare.group(runs, list(dict.fromkeys([*names, *replication.METRICS])))
    except UserError as error:
        sys.exit(f"condgen: {error}")
    row = max(rows, key=lambda row: len(row.seeds))
    files.write(SEEDS, compare.as_csv([row]).encode())
    print(f"{SEEDS}: {len(row.seeds)} seeds, {row.settings or 'all else alike'}")


if __name__ == "__main__":
    main()
