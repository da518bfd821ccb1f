"""Checks of constructor parameters, run at the start of `fit`."""

import difflib
import math
from numbers import Integral, Real

#: `reg_lambda` of a model of several tasks: each has little hessian in leaves that serve them all.
SHARED_REG_LAMBDA = 10.0

# name: (type, least, most); an open end is written as a tuple of one.
NUMBERS = {
    "num_leaves": (Integral, 2, None),
    "max_depth": (Integral, None, None),
    "learning_rate": (Real, (0,), None),
    "n_estimators": (Integral, 1, None),
    "subsample_for_bin": (Integral, 1, None),
    "min_split_gain": (Real, 0, None),
    "min_child_weight": (Real, 0, None),
    "min_child_samples": (Integral, 0, None),
    "subsample": (Real, (0,), 1),
    "subsample_freq": (Integral, 0, None),
    "colsample_bytree": (Real, (0,), 1),
    "reg_alpha": (Real, 0, None),
    "max_delta_step": (Real, 0, None),
    "max_bin": (Integral, 2, 255),
    "cat_smooth": (Real, 0, None),
    "cat_l2": (Real, 0, None),
    "max_cat_threshold": (Integral, 1, None),
    "max_cat_to_onehot": (Integral, 1, None),
    "min_data_per_group": (Integral, 1, None),
    "early_stopping_min_delta": (Real, 0, None),
    "validation_fraction": (Real, (0,), (1,)),
    "checkpoint_interval": (Integral, 1, None),
    "verbose": (Integral, None, None),
}
#: Numbers, or "auto".
AUTOMATIC_NUMBERS = {"reg_lambda": (Real, 0, None)}
OPTIONAL_NUMBERS = {"early_stopping_rounds": (Integral, 1, None), "n_jobs": (Integral, None, None)}


def check_parameters(estimator):
    """Check every plain number among an estimator's parameters.

    Raises
    ------
    TypeError
        If a value is of the wrong type.
    ValueError
        If a value is out of its range; the text names the range.
    """
    parameters = estimator.get_params(deep=False)
    for name, limits in NUMBERS.items():
        check_number(name, parameters[name], *limits)
    for name, limits in OPTIONAL_NUMBERS.items():
        if parameters[name] is not None:
            check_number(name, parameters[name], *limits)
    for name, limits in AUTOMATIC_NUMBERS.items():
        if isinstance(parameters[name], str):
            choose(name, parameters[name], {"auto": None})
        else:
            check_number(name, parameters[name], *limits)


def resolve_reg_lambda(value, n_tasks):
    """The penalty that `reg_lambda` stands for in a model of so many tasks."""
    if isinstance(value, str):
        return SHARED_REG_LAMBDA if n_tasks > 1 else 0.0
    return value


def check_number(name, value, kind, least, most):
    """Raise unless `value` is a `kind` of number within its limits; `(0,)` means above 0."""
    if not isinstance(value, kind) or isinstance(value, bool):
        noun = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name} must be {noun}, got {value!r}.")
    if not (math.isfinite(value) and _is_above(value, least) and _is_below(value, most)):
        finite = "" if math.isfinite(value) else "finite and "
        raise ValueError(f"{name} must be {finite}{_range_text(least, most)}, got {value!r}.")


def _is_above(value, least):
    if isinstance(least, tuple):
        return value > least[0]
    return least is None or value >= least


def _is_below(value, most):
    if isinstance(most, tuple):
        return value < most[0]
    return most is None or value <= most


def _range_text(least, most):
    parts = []
    if least is not None:
        parts.append(f"above {least[0]}" if isinstance(least, tuple) else f"at least {least}")
    if most is not None:
        parts.append(f"below {most[0]}" if isinstance(most, tuple) else f"at most {most}")
    return " and ".join(parts) or "a number"


def choose(name, value, options):
    """Return ``options[value]``, or raise a ValueError that says which options there are.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : str
    options : dict
    """
    if isinstance(value, str) and value in options:
        return options[value]
    raise ValueError(f"unknown {name} {value!r}; {suggest(value, options)}")


def suggest(value, options):
    """A sentence that names the closest option, if one is close, and all of them."""
    close = difflib.get_close_matches(str(value), list(options), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Expected one of {', '.join(map(repr, options))}."


def find_task(name, value, task_names):
    """Position of a task given by name or position.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : str or int
    task_names : list of str

    Raises
    ------
    ValueError
        If there is no such task.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        if -len(task_names) <= value < len(task_names):
            return int(value) % len(task_names)
        raise ValueError(
            f"{name}={value} but there are {len(task_names)} tasks, numbered from 0: "
            f"{', '.join(task_names)}."
        )
    positions = {task: position for position, task in enumerate(task_names)}
    return choose(name, value, positions)


def per_task(name, value, task_names, default):
    """One value per task from one for all, a sequence, or a dict by task name.

    Parameters
    ----------
    name : str
        The parameter's name, for errors.
    value : object
        None for `default`; a dict may leave tasks out, a list or tuple may not.
    task_names : list of str
    default : object

    Returns
    -------
    list of length n_tasks
    """
    if value is None:
        return [default] * len(task_names)
    if isinstance(value, dict):
        chosen = {find_task(name, key, task_names): item for key, item in value.items()}
        return [chosen.get(position, default) for position in range(len(task_names))]
    if isinstance(value, (list, tuple)):
        if len(value) != len(task_names):
            raise ValueError(
                f"{name} has {len(value)} values for {len(task_names)} tasks "
                f"({', '.join(task_names)}); give one for each, or a dict by task name."
            )
        return list(value)
    return [value] * len(task_names)
