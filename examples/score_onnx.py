"""Score the rows of a CSV file with an ONNX file: no mtgbm, no scikit-learn, no pandas.

    python examples/score_onnx.py model.onnx rows.csv scores.csv

Needs onnxruntime and numpy. The CSV file has a line of column names, then a line for each row; an
empty cell is missing. Columns that the model does not know are ignored. The model comes from

    from mtgbm.io.onnx import to_onnx
    to_onnx(fitted_pipeline, "model.onnx")
"""

import csv
import json
import sys

import numpy as np
from onnxruntime import InferenceSession

ROWS_AT_A_TIME = 10_000


def main(model_path, rows_path, scores_path):
    session = InferenceSession(model_path, providers=["CPUExecutionProvider"])
    tasks = json.loads(session.get_modelmeta().custom_metadata_map["task_names"])
    with open(rows_path, newline="") as rows, open(scores_path, "w", newline="") as scores:
        writer = csv.writer(scores)
        writer.writerow(tasks)
        for batch in batches(csv.DictReader(rows)):
            (probabilities,) = session.run(["probabilities"], model_inputs(session, batch))
            writer.writerows(probabilities.tolist())


def batches(reader):
    """The rows, so many at a time."""
    batch = []
    for row in reader:
        batch.append(row)
        if len(batch) == ROWS_AT_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch


def model_inputs(session, rows):
    """One array of shape (n_rows, 1) for each column that the model reads."""
    return {
        column.name: as_column([row[column.name] for row in rows], column.type)
        for column in session.get_inputs()
    }


def as_column(cells, kind):
    """Text as it is, where the empty one is missing; numbers with NaN where missing."""
    if kind == "tensor(string)":
        return np.array(cells, dtype=object).reshape(-1, 1)
    return np.array([float(cell) if cell else np.nan for cell in cells]).reshape(-1, 1)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python score_onnx.py MODEL.onnx ROWS.csv SCORES.csv")
    main(*sys.argv[1:])
