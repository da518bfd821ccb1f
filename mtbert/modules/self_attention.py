"""How the tokens of a pretrained encoder attend over each other."""

from __future__ import annotations

from functools import cache

import torch

from mtbert.modules.dropout import drop

#: The name under which transformers knows it.
NAME = "mtbert"


@cache
def register_attention() -> None:
    """Make :func:`attend` known to transformers, once."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def use_attention(model) -> None:
    """Let a model of transformers attend by :func:`attend`, if it lets that be chosen.

    Parameters
    ----------
    model : PreTrainedModel
        Changed in place.
    """
    register_attention()
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        model.set_attn_implementation(NAME)


def attend(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, **others
):
    """Scaled dot-product attention; where a CPU trains, by plain products of matrices.

    The arguments and the result are those that transformers gives and expects. On a CPU, torch has
    no fused kernel with dropout, and the backward pass of the one without takes, in bfloat16, a
    multiple of these few operations.

    Parameters
    ----------
    module : Module
    query, key, value : tensor of shape (n, n_heads, length, head_dim)
    attention_mask : tensor of shape (n, 1, length, length), dtype bool, or None
    dropout : float
        Share of the attention weights that are dropped.
    scaling : float or None
        Of the products; None for ``1 / sqrt(head_dim)``.
    is_causal : bool or None
    **others
        What else a model may ask of its attention; then torch's does it.

    Returns
    -------
    found : tensor of shape (n, length, n_heads, head_dim)
    weights : None
    """
    is_causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    is_asked_more = is_causal or any(option is not None for option in others.values())
    if is_asked_more or not _is_faster_plain(query, key, attention_mask, dropout):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **others
        )
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast("cpu", enabled=False):  # which would make the softmax one of float32
        return _attend(query * scaling, key, value, attention_mask, dropout), None


def _is_faster_plain(query, key, mask, dropout):
    is_training = query.device.type == "cpu" and query.requires_grad
    is_usual = query.shape == key.shape and (mask is None or mask.dtype is torch.bool)
    return is_training and is_usual and (dropout > 0 or query.dtype is not torch.float32)


def _attend(query, key, value, mask, dropout):
    scores = query @ key.transpose(2, 3)
    if mask is not None:
        lowest = torch.finfo(scores.dtype).min
        scores += torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, lowest)
    weights = drop(scores.softmax(dim=-1), dropout)
    return (weights @ value).transpose(1, 2)
