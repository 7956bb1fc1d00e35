"""``python -m models.benchmark``: measure recommenders on plain files of interactions."""

import argparse
import json
import os
import sys
from pathlib import Path

from models.benchmark.contenders import BASELINES, OWN
from models.benchmark.dataset import Files, load
from models.benchmark.measure import measure
from models.benchmark.report import table
from models.benchmark.tables import FileError
from models.files import replacing
from models.settings import ModelSettings


def main(arguments: list[str] | None = None) -> int:
    """Fit on --train, test on --test; print a table and write all figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m models.benchmark",
        description=main.__doc__,
        epilog="Interactions are 'user item rating timestamp', by tab, comma, ;, | or ::, or parquet; "
        "a header is optional, and so are timestamp and, for --task ranking, rating.",
    )
    parser.add_argument(
        "--train", type=Path, required=True, metavar="FILE", help="interactions to learn from"
    )
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="interactions to predict")
    parser.add_argument(
        "--negatives", type=Path, metavar="FILE", help="(user,item), then the items to compare with"
    )
    parser.add_argument("--task", choices=sorted(OWN), required=True)
    parser.add_argument(
        "--baselines", action="store_true", help="also popularity or bias, Spark ALS, implicit"
    )
    parser.add_argument(
        "--user-features", type=Path, metavar="FILE", help="user, then any columns; | joins values"
    )
    parser.add_argument("--item-features", type=Path, metavar="FILE", help="item, then any columns")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file; default below .rentals/bench")
    parser.add_argument("--seed", type=int, default=7, help="the same seed gives the same figures on a CPU")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="of every model; default all cores"
    )
    given = parser.parse_args(arguments)
    if given.negatives and given.task == "rating":
        parser.error("--negatives are for --task ranking")
    out = given.out or ModelSettings().home / "bench" / f"collaborative-{given.task}.json"
    try:
        files = Files(given.train, given.test, given.negatives, given.user_features, given.item_features)
        data = load(files, given.task)
    except FileError as faults:
        sys.stderr.write(f"{faults}\n")
        return 2
    sys.stdout.write("  ".join(f"{name} {value}" for name, value in data.summary.items()) + "\n")
    names = [*OWN[given.task], *(BASELINES[given.task] if given.baselines else ())]
    results = {}
    for name in names:
        sys.stdout.write(f"fitting {name} ...\n")
        sys.stdout.flush()
        results[name] = measure(given.task, name, data, given.seed, given.threads)
    sys.stdout.write("\n" + table(results))
    record = {
        "task": given.task,
        "files": {name: str(path) for name, path in vars(files).items() if path},
        "seed": given.seed,
        "threads": given.threads,
        "data": data.summary,
        "models": results,
    }
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(record, indent=2, default=float) + "\n")
    sys.stdout.write(f"figures are in {out}\n")
    return 1 if any("failure" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
