"""What each embedding adds to a score: the integral of the gradient from a baseline to the row."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class PathIntegral:
    """What a network says of a row and of its baseline, and what explains the difference.

    Attributes
    ----------
    score, baseline_score : float
    tokens : dict of str to ndarray of float64 of shape (n_chunks, length)
        The contribution of each token of each text field.
    columns : ndarray of float64 of shape (n_columns,)
        That of each column of the network's table, the numeric ones first; empty if it reads none.
    """

    score: float
    baseline_score: float
    tokens: dict[str, np.ndarray]
    columns: np.ndarray


def integrated_gradients(network, row, baseline, score, *, n_steps, batch_size) -> PathIntegral:
    """Integrate gradients along the straight line from a baseline's embeddings to a row's [1]_.

    The lines start and end at the embeddings of tokens, of numeric columns and of categories. By
    the theorem of line integrals all contributions add up to the difference of the scores, but for
    the error of the quadrature, which is that of Gauss and Legendre.

    Parameters
    ----------
    network : FusionNet
    row, baseline : dict of str to tensor
        The batch of one row that the network takes, and one of the same shapes and masks. No chunk
        of it is all padding, though a text field may have no token at all.
    score : callable
        From logits of shape (k, n_outputs) to scores of shape (k,).
    n_steps : int
        Points on the line at which gradients are taken.
    batch_size : int
        Points that go through the network at once.

    Returns
    -------
    PathIntegral

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    network.eval()
    calls = _calls(network, row, baseline)
    lines = [line for _, line in calls if line is not None]
    shares, weights = _quadrature(n_steps)
    totals = [torch.zeros(line.end.shape, dtype=torch.float64) for line in lines]
    scores = []
    # cuDNN has no backward pass for recurrent layers outside of training.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for some in torch.arange(len(shares)).split(batch_size):
            points = [line.points(shares[some]) for line in lines]
            with _answered_by(calls, points):
                values = score(network(**_copies(row, len(some))))
            scores.append(values.detach().double().cpu())
            gradients = torch.autograd.grad(values.sum(), points) if points else ()
            for total, gradient in zip(totals, gradients, strict=True):
                total += torch.tensordot(weights[some], gradient.double().cpu(), dims=1)
    contributions = {
        line.name: (total * (line.end - line.start).double().cpu()).sum(-1).numpy()
        for line, total in zip(lines, totals, strict=True)
    }
    columns = contributions.pop(None, np.zeros(0))
    along = torch.cat(scores)
    return PathIntegral(float(along[-1]), float(along[0]), contributions, columns)


@dataclass(frozen=True, eq=False)
class _Line:
    """From a baseline's embeddings to a row's; `name` is a text field, or None for the table."""

    name: str | None
    start: torch.Tensor
    end: torch.Tensor

    def points(self, shares):
        """Leaves of a graph, one for each share of the way: (k, *shape of an end)."""
        shares = shares.to(self.end).reshape(-1, *[1] * self.end.ndim)
        return torch.lerp(self.start, self.end, shares).requires_grad_()


@torch.no_grad()
def _calls(network, row, baseline):
    """Modules that embed, in the order in which the network calls them, and their lines.

    A field without a token has none: the network encodes one place for the whole batch.
    """
    calls = []
    for name in network.field_names:
        key, module = f"{name}_ids", network.encoder_of(name).token_embedding
        is_empty = not row[f"{name}_mask"].any()
        line = None if is_empty else _Line(name, module(baseline[key][0]), module(row[key][0]))
        calls.append((module, line))
    if network.tabular is not None:
        module = network.tabular.columns
        start, end = (module(b["numeric"], b["categorical"])[0] for b in (baseline, row))
        calls.append((module, _Line(None, start, end)))
    return calls


def _quadrature(n_steps):
    """Shares of the way and their weights; the ends are there too, for their scores alone."""
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    shares = np.concatenate([[0.0], (nodes + 1) / 2, [1.0]])
    return torch.from_numpy(shares), torch.from_numpy(np.pad(weights / 2, 1))


def _copies(row, n):
    return {name: tensor.expand(n, *tensor.shape[1:]) for name, tensor in row.items()}


@contextlib.contextmanager
def _answered_by(calls, points):
    """While it lasts, the modules give these points, call by call, and else their own answer.

    A module may be called for several fields, which share an encoder. It sees their chunks one
    behind the other, so the first two dimensions of a text's points become one.
    """
    remaining = iter(points)
    answers: dict = {}
    for module, line in calls:
        point = None if line is None else next(remaining)
        answer = None if point is None else point.flatten(0, point.ndim - 3)
        answers.setdefault(module, deque()).append(answer)
    hooks = [
        module.register_forward_hook(lambda module, *_: answers[module].popleft())
        for module in answers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
