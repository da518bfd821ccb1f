"""Text as the last hidden states of BERT or one of its relatives."""

from __future__ import annotations

from numbers import Integral
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from mtbert.modules.dropout import replace_dropout
from mtbert.modules.layers import draw_anew, find_layers
from mtbert.modules.lora import Lora
from mtbert.modules.self_attention import register_attention, use_attention
from mtbert.modules.table_context import MOST_COLUMNS, TableContext
from mtbert.modules.text_encoder import TextEncoder
from mtbert.pretrained import (
    check_length,
    count_positions,
    describe_config,
    first_position,
    load_encoder,
)
from mtgbm.parameters import check_number


class BertText(TextEncoder):
    """BERT [1]_ over each chunk, from a model of transformers.

    Parameters
    ----------
    model : PreTrainedModel
        As :func:`mtbert.pretrained.load_encoder` gives it; it is changed in place.
    pooling : {"mean", "cls", "max", "pooler"}, default="mean"
        How the tokens of a chunk become one vector: their mean, the first one, the largest values,
        or the model's own pooler, a dense layer over the first one. With the others the pooler is
        dropped.
    token_dropout : float, default=0.1
        The share of tokens that are left out at random in training, unless all is frozen; see
        :class:`mtbert.modules.token_dropout.TokenDropout`.
    table_context : bool or "auto", default="auto"
        Whether words attend to the columns, too, unless layers are frozen; see
        :class:`mtbert.modules.table_context.TableContext`. "auto": if the table's part makes at
        most eight columns of the table.
    frozen_layers : int or "all", default=0
        How many layers, from the lowest, are not trained; with the first go the embeddings. "all"
        means the whole model. What is drawn anew is trained in any case.
    reinit_layers : int, default=0
        How many layers, from the highest, are drawn anew [2]_.
    reinit_pooler : bool, default=False
        Whether the pooler is drawn anew.
    gradient_checkpointing : bool, default=False
        Whether the backward pass computes hidden states again instead of keeping them: slower, in
        less memory.
    lora_rank : int or None, default=None
        The rank of adapters, which are trained in place of the model's own weights; None for none.
        See :func:`mtbert.modules.lora.add_adapters`, which puts them in.
    lora_alpha, lora_dropout, lora_target_modules : default=None, 0.0, None
        See :class:`mtbert.modules.lora.Lora`.

    Attributes
    ----------
    output_dim : int
        The model's hidden size.
    config : dict
        From which :func:`mtbert.pretrained.load_encoder` builds a model of the same shape.
    lora : Lora or None

    Raises
    ------
    TypeError
        If a number is none.
    ValueError
        If the pooler is asked for but missing, or the model has fewer layers, or one is to be
        frozen under adapters, or `table_context` is something else.

    References
    ----------
    .. [1] Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers
       for Language Understanding", NAACL 2019.
    .. [2] Zhang, Wu, Katiyar, Weinberger and Artzi, "Revisiting Few-sample BERT Fine-tuning", ICLR
       2021.
    """

    poolings = (*TextEncoder.poolings, "pooler")

    def __init__(
        self,
        model,
        *,
        pooling="mean",
        token_dropout=0.1,
        table_context: bool | Literal["auto"] = "auto",
        frozen_layers: int | Literal["all"] = 0,
        reinit_layers=0,
        reinit_pooler=False,
        gradient_checkpointing=False,
        lora_rank=None,
        lora_alpha=None,
        lora_dropout=0.0,
        lora_target_modules=None,
    ):
        super().__init__(model.config.hidden_size, pooling, token_dropout)
        self.model = model
        self.frozen: list[nn.Module] = []
        self.anew: list[nn.Module] = []
        self._keep_or_drop_pooler(reinit_pooler)
        self._draw_layers_anew(reinit_layers)
        self._freeze(frozen_layers)
        # Through frozen layers its gradient would take the time that freezing them saves.
        self.context_option = not self.frozen and _check_context(table_context)
        use_attention(model)
        replace_dropout(model)
        self.lora = None
        if lora_rank is not None:
            self.lora = Lora(lora_rank, lora_alpha, lora_dropout, lora_target_modules)
            self._leave_training_to_adapters(frozen_layers)
        if gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
            # Its hook is for checkpoints that re-enter; frozen layers would compute gradients for
            # nothing, and a model with it cannot be pickled.
            model.disable_input_require_grads()

    def __setstate__(self, state):
        register_attention()  # in a process that only loads the model
        super().__setstate__(state)

    @classmethod
    def for_field(cls, spec, source, **options):
        """Return the encoder of a text field.

        Parameters
        ----------
        spec : TextFieldSpec
        source : str, path-like, dict or PreTrainedModel
            As :func:`mtbert.pretrained.load_encoder` takes it.
        **options
            Keyword arguments of the class.
        """
        loaded = load_encoder(source, vocab_size=spec.vocab_size, pad_id=spec.pad_id)
        return cls(loaded.model, **options)

    @property
    def config(self) -> dict:
        """The shape of the model, as :func:`mtbert.pretrained.load_encoder` takes it."""
        return describe_config(self.model.config)

    @property
    def token_embedding(self) -> nn.Module:
        """The embedding of words, without that of positions."""
        return self.model.get_input_embeddings()

    def read_table(self, tabular) -> None:
        """Make ready to be told what the table says, unless the options say otherwise.

        Parameters
        ----------
        tabular : TabularEncoder
        """
        is_wanted = self.context_option
        if is_wanted == "auto":
            is_wanted = tabular.n_columns <= MOST_COLUMNS
        if is_wanted:
            word_dim = self.token_embedding.embedding_dim
            self.table_context = TableContext(tabular.token_dim, word_dim)

    def train(self, mode: bool = True):
        """Set the training mode, though what is frozen keeps its dropout off.

        Parameters
        ----------
        mode : bool, default=True
        """
        super().train(mode)
        for part in self.frozen:
            part.eval()
        for part in self.anew:
            part.train(mode)
        return self

    def encode_chunks(self, ids, mask, context=None) -> torch.Tensor:
        """Return the last hidden states.

        Parameters
        ----------
        ids : tensor of shape (n_chunks, length), dtype int64
        mask : tensor of shape (n_chunks, length), dtype bool
        context : tensor of shape (n_chunks, n_context, token_dim) or None, default=None
            Further tokens, which those of the chunk attend to.

        Returns
        -------
        tokens : tensor of shape (n_chunks, length, output_dim)

        Raises
        ------
        ValueError
            If chunks are longer than the model has positions.
        """
        if not torch.compiler.is_exporting():
            check_length(ids.shape[1], count_positions(self.model.config))
        if context is None:
            return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        embedded = torch.cat([self.token_embedding(ids), context], dim=1)
        attended = F.pad(mask, (0, context.shape[1]), value=True).long()
        positions = self._number(ids.shape[1], context.shape[1], ids.device)
        hidden = self.model(
            inputs_embeds=embedded, attention_mask=attended, position_ids=positions
        ).last_hidden_state
        return hidden[:, : ids.shape[1]]

    def _number(self, n_words, n_context, device):
        """Positions, (1, n_words + n_context), as if the context stood behind the first word."""
        of_words = torch.arange(n_words, device=device)
        of_words = torch.where(of_words > 0, of_words + n_context, of_words)
        of_context = torch.arange(1, 1 + n_context, device=device)
        last = count_positions(self.model.config) - 1
        counted = torch.cat([of_words, of_context]).clamp(max=last)
        return counted.unsqueeze(0) + first_position(self.model.config)

    def pool_tokens(self, tokens, mask) -> torch.Tensor:
        """Return a vector for each chunk.

        Parameters
        ----------
        tokens : tensor of shape (n_chunks, length, output_dim)
        mask : tensor of shape (n_chunks, length), dtype bool

        Returns
        -------
        vectors : tensor of shape (n_chunks, output_dim)
        """
        if self.pooling == "pooler":
            return self.model.pooler(tokens)
        return super().pool_tokens(tokens, mask)

    def parameters_by_depth(self) -> list[list[nn.Parameter]]:
        """Return the parameters, the embeddings first, then those of each layer.

        Returns
        -------
        depths : list of length n_layers + 1
            The pooler belongs to the last layer.
        """
        layers = [list(layer.parameters()) for layer in find_layers(self.model)]
        if self.pooling == "pooler":
            layers[-1] += self.model.pooler.parameters()
        known = {id(parameter) for layer in layers for parameter in layer}
        return [[p for p in self.model.parameters() if id(p) not in known], *layers]

    def _keep_or_drop_pooler(self, reinit_pooler):
        if self.pooling != "pooler":
            if reinit_pooler:
                raise ValueError(
                    f"reinit_pooler=True but pooling={self.pooling!r} does not use the pooler; "
                    "give pooling='pooler'."
                )
            self.model.pooler = None  # else its weights would wait for a gradient in vain
        elif getattr(self.model, "pooler", None) is None:
            kind = type(self.model).__name__
            raise ValueError(f"pooling='pooler' but {kind} has no pooler; give pooling='cls'.")
        elif reinit_pooler:
            self._draw_anew([self.model.pooler])

    def _draw_layers_anew(self, n):
        layers = find_layers(self.model)
        check_number("reinit_layers", n, Integral, 0, len(layers))
        self._draw_anew(layers[len(layers) - n :])

    def _draw_anew(self, parts):
        for part in parts:
            draw_anew(part, self.model.config)
        self.anew += parts

    def _freeze(self, n):
        layers = find_layers(self.model)
        if n == "all":
            self.frozen = [self.model, self.token_dropout]  # so a text stays the same
        else:
            check_number("frozen_layers", n, Integral, 0, len(layers))
            self.frozen = [self.model.embeddings, *layers[:n]] if n else []
        for part in self.frozen:
            part.requires_grad_(False)
        for part in self.anew:
            part.requires_grad_(True)

    def _leave_training_to_adapters(self, frozen_layers):
        if frozen_layers:
            raise ValueError(
                f"lora_rank={self.lora.rank} trains adapters in all layers, but frozen_layers="
                f"{frozen_layers!r}; leave one of them out."
            )
        self.model.requires_grad_(False)  # but dropout stays on, as for any training
        for part in self.anew:
            part.requires_grad_(True)


def _check_context(value):
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError(f'table_context must be True, False or "auto", got {value!r}.')
