"""Rows cut at random into parts, and the tables of numbers that all contenders get."""

import numpy as np

from mtgbm import RiskTableEncoder


def cut_rows(n_rows, ends, seed):
    """Rows in random order, cut where each part ends; what follows the last end is left out."""
    return np.split(np.random.default_rng(seed).permutation(n_rows), ends)[: len(ends)]


def encode_parts(data, target, parts, seed):
    """String columns become risks of all tasks, out of fold in the first part.

    Parameters
    ----------
    data, target : DataFrame
    parts : list of arrays of rows
        The encoder learns from the first.
    seed : int

    Returns
    -------
    list of (X, Y)
        X is float32 with NaN, Y float64 with NaN where a label is missing.
    """
    train, *others = parts
    encoder = RiskTableEncoder(random_state=seed)
    tables = [encoder.fit_transform(data.iloc[train], target.iloc[train])]
    tables += [encoder.transform(data.iloc[rows]) for rows in others]
    return [
        (np.asarray(table, dtype=np.float32), target.iloc[rows].to_numpy())
        for table, rows in zip(tables, parts, strict=True)
    ]


def labelled(X, Y, task):
    """The rows that have a label for the task, and that label."""
    known = ~np.isnan(Y[:, task])
    return X[known], Y[known, task]
