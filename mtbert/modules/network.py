"""Encoders, fusion and head composed to one network, by the name of an architecture."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import torch
from torch import nn

from mtbert.modules.bert import BertText
from mtbert.modules.cnn import CnnText
from mtbert.modules.cross_attention import CrossAttention
from mtbert.modules.fusion import Concatenation, GateFusion, MixtureOfExperts
from mtbert.modules.head import Head
from mtbert.modules.lstm import LstmText
from mtbert.modules.modality_heads import ModalityHeads
from mtbert.modules.tabular import TabularEncoder
from mtbert.modules.text_encoder import Encoded, TextFieldSpec
from mtgbm.parameters import check_number, choose, suggest


@dataclass(frozen=True)
class Architecture:
    """The classes an architecture is made of.

    Parameters
    ----------
    text : type
        The text encoder.
    fusion : type
    uses_table : bool, default=True
    fusion_defaults : dict
        Options of the fusion that differ from its own defaults.
    """

    text: type
    fusion: type
    uses_table: bool = True
    fusion_defaults: dict = field(default_factory=dict)


ARCHITECTURES = {
    "multimodal_bert": Architecture(BertText, Concatenation),
    "multimodal_cnn": Architecture(CnnText, Concatenation),
    "multimodal_moe": Architecture(BertText, MixtureOfExperts),
    "multimodal_gate_fusion": Architecture(BertText, GateFusion),
    "multimodal_cross_attn": Architecture(BertText, CrossAttention),
    "bert": Architecture(BertText, Concatenation, False, {"hidden_dims": ()}),
    "lstm": Architecture(LstmText, Concatenation, False, {"hidden_dims": ()}),
}


#: What options can be given to.
PARTS = ("text", "tabular", "fusion", "head", "modalities")


class FusionNet(nn.Module):
    """One encoder for each text field and one for the table, a fusion, a head.

    Parameters
    ----------
    field_names : list of str
        Names of the text fields, in the order of the fusion.
    text_encoders : list of Module
        One for each field, or a single one that all fields share.
    tabular : Module or None
    fusion : Module
    head : Module
    modality_heads : ModalityHeads or None, default=None

    Attributes
    ----------
    output_dim : int
        Width of the fused embedding.

    Notes
    -----
    The batch, given as keyword arguments, holds for each text field ``f``

    - ``f"{f}_ids"``, tensor of shape (n, n_chunks, length), dtype int64, and
    - ``f"{f}_mask"`` of the same shape, dtype bool, True for a token and False for padding. The
      tokens of a chunk come first, then its padding; a padding chunk has no token. Or instead
    - ``f"{f}_vector"``, tensor of shape (n, d), the text as `encode_text` gave it earlier: with a
      frozen encoder this saves its work,

    and for the table

    - ``"numeric"``, tensor of shape (n, n_numeric), dtype float32, finite, and
    - ``"categorical"``, tensor of shape (n, n_categorical), dtype int64, 0 for an unknown category.

    What the network does not use is ignored, so one batch serves all architectures.
    """

    def __init__(self, field_names, text_encoders, tabular, fusion, head, modality_heads=None):
        super().__init__()
        self.field_names = list(field_names)
        self.text_encoders = nn.ModuleList(text_encoders)
        self.tabular = tabular
        self.fusion = fusion
        self.head = head
        self.modality_heads = modality_heads
        self.output_dim = fusion.output_dim

    def forward(self, *, with_modalities=False, **batch):
        """Return logits.

        Parameters
        ----------
        with_modalities : bool, default=False
            Whether to return, too, what each modality says alone.
        **batch
            See the notes of the class.

        Returns
        -------
        logits : tensor of shape (n, n_outputs)
        of_modalities : list of tensors of shape (n, n_outputs)
            If asked for; empty if there are no heads for it.
        """
        texts, table = self._encode(batch)
        logits = self.head(self.fusion(texts, table))
        if not with_modalities:
            return logits
        heads = self.modality_heads
        return logits, [] if heads is None else heads(texts, table)

    def embed(self, **batch) -> torch.Tensor:
        """Return what the head sees.

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        return self.fusion(*self._encode(batch))

    def encode_text(self, name, ids, mask) -> torch.Tensor:
        """Return the vector of one text field alone.

        Parameters
        ----------
        name : str
            The text field.
        ids : tensor of shape (n, n_chunks, length), dtype int64
        mask : tensor of shape (n, n_chunks, length), dtype bool

        Returns
        -------
        vector : tensor of shape (n, d)
        """
        return self.encoder_of(name)(ids, mask).vector

    def encoder_of(self, name) -> nn.Module:
        """Return the encoder of a text field.

        Parameters
        ----------
        name : str
        """
        position = choose("text field", name, {f: i for i, f in enumerate(self.field_names)})
        return self.text_encoders[position if len(self.text_encoders) > 1 else 0]

    def _encode(self, batch):
        """All texts, and the table or None."""
        table = self._encode_table(batch)
        return [self._encode_field(name, batch, table) for name in self.field_names], table

    def _encode_field(self, name, batch, table):
        if f"{name}_vector" in batch:
            self._check_vector_is_enough(name)
            return Encoded(batch[f"{name}_vector"])
        ids, mask = batch[f"{name}_ids"], batch[f"{name}_mask"]
        return self.encoder_of(name)(ids, mask, self.fusion.needs_tokens, table)

    def _check_vector_is_enough(self, name):
        if self.fusion.needs_tokens:
            raise ValueError(
                f"{type(self.fusion).__name__} attends over tokens, but {name!r} comes as a "
                f"vector; give {name}_ids and {name}_mask."
            )

    def _encode_table(self, batch):
        if self.tabular is None:
            return None
        return self.tabular(batch.get("numeric"), batch.get("categorical"))


def build_network(
    architecture: str,
    *,
    text_fields: Mapping[str, TextFieldSpec],
    n_outputs: int,
    n_numeric: int = 0,
    cardinalities: Sequence[int] = (),
    encoder="auto",
    shared_encoder: bool = False,
    **options,
) -> FusionNet:
    """Return the network of an architecture, ready to train.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    text_fields : dict of str to TextFieldSpec
        The text fields, one or more.
    n_outputs : int
        Number of logits.
    n_numeric : int, default=0
        Number of numeric columns. "bert" and "lstm" ignore this and the next.
    cardinalities : list of int, default=()
        Number of codes of each categorical column, the code 0 of unknown categories included.
    encoder : str, path-like, dict or PreTrainedModel, default="auto"
        Where a BERT encoder comes from, as :func:`mtbert.pretrained.load_encoder` takes it; a model
        is copied. "multimodal_cnn" and "lstm" learn their own and ignore this. Or a dict with such
        a source for each text field.
    shared_encoder : bool, default=False
        Whether all text fields have one encoder, with the same weights, instead of one each.
    **options
        Options of the parts, ``part__option=value`` where the part is ``text``, ``tabular``,
        ``fusion``, ``head`` or, where there are several, ``modalities``, such as
        ``text__pooling="cls"`` or ``fusion__n_experts=8``.

    Returns
    -------
    network : FusionNet
        ``network(**batch)`` gives logits of shape (n, n_outputs) and ``network.embed(**batch)`` the
        fused embedding of shape (n, network.output_dim).

    Raises
    ------
    TypeError
        If an argument has a wrong type.
    ValueError
        If a name is unknown, a number out of its range, or the text fields do not fit the encoder.

    Notes
    -----
    Without any column, an architecture with a table sees its text only.
    """
    chosen = choose("architecture", architecture, ARCHITECTURES)
    check_arguments(text_fields, n_outputs, n_numeric, cardinalities)
    options_of = _split_options(architecture, chosen, options)
    text_encoders = _make_text_encoders(
        chosen.text, text_fields, encoder, shared_encoder, options_of["text"]
    )
    tabular = None
    if chosen.uses_table and (n_numeric or len(cardinalities)):
        tabular = TabularEncoder(n_numeric, cardinalities, **options_of["tabular"])
        for text_encoder in text_encoders:
            text_encoder.read_table(tabular)
    per_field = text_encoders * (len(text_fields) if shared_encoder else 1)
    fusion = chosen.fusion.for_encoders(
        per_field, tabular, **{**chosen.fusion_defaults, **options_of["fusion"]}
    )
    head = Head(fusion.output_dim, n_outputs, **options_of["head"])
    heads = _make_modality_heads(per_field, tabular, n_outputs, options_of["modalities"])
    return FusionNet(text_fields, text_encoders, tabular, fusion, head, heads)


def check_arguments(text_fields, n_outputs, n_numeric, cardinalities) -> None:
    """Raise unless :func:`build_network` can take these arguments, which are its own.

    Raises
    ------
    TypeError
        If one is of a wrong type.
    ValueError
        If a number is out of its range or there is no text field.
    """
    if not isinstance(text_fields, Mapping) or not all(
        isinstance(spec, TextFieldSpec) for spec in text_fields.values()
    ):
        raise TypeError(f"text_fields must be a dict of TextFieldSpec, got {text_fields!r}.")
    if not text_fields:
        raise ValueError("text_fields is empty; give one text field at least.")
    check_number("n_outputs", n_outputs, Integral, 1, None)
    check_number("n_numeric", n_numeric, Integral, 0, None)
    for column, cardinality in enumerate(cardinalities):
        check_number(f"cardinalities[{column}]", cardinality, Integral, 1, None)


def _make_text_encoders(kind, text_fields, source, shared, options):
    """One encoder, or one for each field."""
    sources = _sources_by_field(source, text_fields)
    fields = list(text_fields)
    if shared:
        _check_alike(fields, text_fields, sources)
        fields = fields[:1]
    return [kind.for_field(text_fields[name], sources[name], **options) for name in fields]


def _make_modality_heads(per_field, tabular, n_outputs, options):
    """None where there is one modality, or nothing is to be learned from their heads."""
    if tabular is None:
        return None
    text_dims = [encoder.output_dim for encoder in per_field]
    heads = ModalityHeads(text_dims, tabular.output_dim, n_outputs, **options)
    return heads if heads.loss_weight else None


def _sources_by_field(source, text_fields):
    if isinstance(source, Mapping) and set(source) & set(text_fields):
        if set(source) != set(text_fields):
            raise ValueError(
                f"encoder names the text fields {', '.join(source)}, but there are "
                f"{', '.join(text_fields)}; give one encoder for each."
            )
        return dict(source)
    return dict.fromkeys(text_fields, source)


def _check_alike(fields, specs, sources):
    for name in fields[1:]:
        if specs[name] != specs[fields[0]] or sources[name] is not sources[fields[0]]:
            raise ValueError(
                f"shared_encoder=True but the text fields {fields[0]!r} and {name!r} differ in "
                f"their tokenizer or encoder: {specs[fields[0]]}, {specs[name]}."
            )


def _split_options(name, architecture, options):
    """``{"text__pooling": "cls"}`` becomes ``{"text": {"pooling": "cls"}, ...}``."""
    parts = {"text": architecture.text, "fusion": architecture.fusion, "head": Head}
    if architecture.uses_table:
        parts |= {"tabular": TabularEncoder, "modalities": ModalityHeads}
    known = {f"{part}__{option}" for part, kind in parts.items() for option in _options_of(kind)}
    split: dict[str, dict] = {part: {} for part in PARTS}
    for key, value in options.items():
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; {suggest(key, sorted(known))}")
        part, _, option = key.partition("__")
        split[part][option] = value
    return split


def _options_of(kind):
    parameters = inspect.signature(kind.__init__).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
