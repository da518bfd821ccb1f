"""Whole networks, by architecture."""

import pickle

import pytest
import torch
from torch.nn import functional as F

from mtbert.modules import ARCHITECTURES, BertText, TextFieldSpec, build_network

WITH_TABLE = [name for name, parts in ARCHITECTURES.items() if parts.uses_table]
WITH_BERT = [name for name, parts in ARCHITECTURES.items() if parts.text is BertText]
CARDINALITIES = [3, 5]


@pytest.fixture
def build(tiny_bert):
    def build(architecture, fields=("review", "title"), **arguments):
        specs = dict.fromkeys(fields, TextFieldSpec(tiny_bert["vocab_size"]))
        arguments = {
            "n_outputs": 4,
            "n_numeric": 3,
            "cardinalities": CARDINALITIES,
            "encoder": tiny_bert,
            **arguments,
        }
        return build_network(architecture, text_fields=specs, **arguments)

    return build


def logits_of_training(network, batch):
    """Those of all modalities together and, in the same row, of each alone."""
    logits, of_modalities = network(with_modalities=True, **batch)
    return torch.cat([logits, *of_modalities], dim=1)


def gets_no_gradient(network):
    """Names of weights that a backward pass did not reach.

    The bias of BERT's keys adds the same to all scores of a softmax, so it has no effect.
    """
    return [
        name
        for name, parameter in network.named_parameters()
        if not name.endswith("key.bias") and (parameter.grad is None or not parameter.grad.any())
    ]


def test_the_architectures():
    assert list(ARCHITECTURES) == [
        "multimodal_bert",
        "multimodal_cnn",
        "multimodal_moe",
        "multimodal_gate_fusion",
        "multimodal_cross_attn",
        "bert",
        "lstm",
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("fields", [("review",), ("review", "title")])
@pytest.mark.parametrize("shared", [False, True])
def test_gradient_reaches_every_weight(build, batch, architecture, fields, shared):
    network = build(architecture, fields, shared_encoder=shared)
    logits, of_modalities = network(with_modalities=True, **batch)
    assert logits.shape == (5, 4)
    assert len(of_modalities) == (2 if architecture in WITH_TABLE else 0)
    labels = torch.tensor([0, 1, 2, 3, 0])
    sum(F.cross_entropy(z, labels) for z in (logits, *of_modalities)).backward()
    assert not gets_no_gradient(network)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_fused_logits_alone_reach_all_but_the_heads_of_modalities(build, batch, architecture):
    network = build(architecture)
    F.cross_entropy(network(**batch), torch.tensor([0, 1, 2, 3, 0])).backward()
    assert not [n for n in gets_no_gradient(network) if not n.startswith("modality_heads.")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_sees_the_embedding(build, batch, architecture):
    network = build(architecture).eval()
    embedding = network.embed(**batch)
    assert embedding.shape == (5, network.output_dim)
    assert torch.equal(network.head.linear(embedding), network(**batch))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_does_not_depend_on_its_batch(build, batch, architecture):
    network = build(architecture).eval()
    together = network(**batch)
    for row in range(5):
        alone = network(**{name: values[[row]] for name, values in batch.items()})
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_modality_matters(build, batch, architecture):
    network = build(architecture).eval()
    changes = {
        "review_ids": (batch["review_ids"] + 1) % 60,
        "title_ids": (batch["title_ids"] + 1) % 60,
        "numeric": batch["numeric"] + 1,
        "categorical": (batch["categorical"] + 1) % 3,
    }
    logits = network(**batch)
    moved = {name for name in changes if not network(**batch | {name: changes[name]}).equal(logits)}
    texts = {"review_ids", "title_ids"}
    assert moved == (set(changes) if architecture in WITH_TABLE else texts)


@pytest.mark.parametrize("architecture", ["bert", "lstm"])
def test_text_architectures_need_no_table(build, batch, architecture):
    network = build(architecture).eval()
    assert network.tabular is None
    text = {name: values for name, values in batch.items() if name[:6] in ("review", "title_")}
    assert torch.equal(network(**text), network(**batch))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(3, []), (0, [3, 5]), (0, [])])
def test_columns_of_one_kind_or_none(build, batch, architecture, n_numeric, cardinalities):
    network = build(architecture, n_numeric=n_numeric, cardinalities=cardinalities)
    if not n_numeric:
        del batch["numeric"]
    if not cardinalities:
        del batch["categorical"]
    logits_of_training(network, batch).square().sum().backward()
    assert not gets_no_gradient(network)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(5, 1, 0), (5, 0, 0), (5, 2, 4)])
def test_a_batch_without_any_token(build, batch, architecture, shape):
    for field in ("review", "title"):
        batch[f"{field}_ids"] = torch.zeros(shape, dtype=torch.int64)
        batch[f"{field}_mask"] = torch.zeros(shape, dtype=torch.bool)
    network = build(architecture)
    logits = logits_of_training(network, batch)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_encoder_is_one(build, batch, architecture):
    own, shared = (build(architecture, shared_encoder=flag) for flag in (False, True))
    assert shared.encoder_of("review") is shared.encoder_of("title")
    assert own.encoder_of("review") is not own.encoder_of("title")
    ids, mask = batch["review_ids"], batch["review_mask"]
    first, second = (shared.eval().encode_text(name, ids, mask) for name in ("review", "title"))
    assert torch.equal(first, second)
    first, second = (own.eval().encode_text(name, ids, mask) for name in ("review", "title"))
    assert not torch.equal(first, second)


def test_two_encoders_from_one_model_share_no_weights(build, tiny_bert):
    from mtbert.pretrained import load_encoder

    model = load_encoder(tiny_bert).model
    network = build("bert", encoder=model)
    weights = [
        network.encoder_of(f).model.embeddings.word_embeddings.weight for f in ("review", "title")
    ]
    original = model.embeddings.word_embeddings.weight
    assert all(torch.equal(weight, original) for weight in weights)
    assert len({weight.data_ptr() for weight in (*weights, original)}) == 3
    assert model.pooler is not None  # the model given is as it was


def test_an_encoder_for_each_field(build, tiny_bert, batch):
    wider = {**tiny_bert, "hidden_size": 24}
    network = build("multimodal_bert", encoder={"review": tiny_bert, "title": wider})
    assert network.encoder_of("review").output_dim == 16
    assert network.encoder_of("title").output_dim == 24
    assert network(**batch).shape == (5, 4)


def test_fields_may_have_any_name(build, batch):
    """Also one that no attribute of a module may have."""
    network = build("multimodal_bert", fields=("text.body", "forward"))
    for new, old in (("text.body", "review"), ("forward", "title")):
        for part in ("ids", "mask"):
            batch[f"{new}_{part}"] = batch[f"{old}_{part}"]
    assert network(**batch).shape == (5, 4)


def test_vectors_computed_before_take_the_place_of_texts(build, batch):
    network = build("multimodal_moe", text__frozen_layers="all").eval()
    known = {name: batch[name] for name in ("numeric", "categorical")}
    for field in ("review", "title"):
        known[f"{field}_vector"] = network.encode_text(
            field, batch[f"{field}_ids"], batch[f"{field}_mask"]
        )
    assert torch.equal(network(**known), network(**batch))


def test_cross_attention_needs_the_tokens(build, batch):
    network = build("multimodal_cross_attn", fields=("review",)).eval()
    batch["review_vector"] = network.encode_text(
        "review", batch["review_ids"], batch["review_mask"]
    )
    with pytest.raises(ValueError, match="attends over tokens, but 'review' comes as a vector"):
        network(**batch)


def test_a_network_is_rebuilt_from_its_weights(build, batch):
    network, twin = (build("multimodal_cross_attn", shared_encoder=True).eval() for _ in range(2))
    assert not torch.equal(network(**batch), twin(**batch))
    twin.load_state_dict(network.state_dict())
    assert torch.equal(network(**batch), twin(**batch))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_survives_pickle(build, batch, architecture):
    frozen = {"text__frozen_layers": "all"} if architecture in WITH_BERT else {}
    network = build(architecture, **frozen).eval()
    twin = pickle.loads(pickle.dumps(network))
    assert torch.equal(twin(**batch), network(**batch))
    parts = [part.model for part in twin.train().text_encoders if isinstance(part, BertText)]
    assert not any(part.training for part in parts)  # what is frozen stays so


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision(build, batch, architecture):
    network = build(architecture).eval()
    with torch.autocast("cpu", torch.bfloat16):
        logits = logits_of_training(network, batch)
    logits.float().square().sum().backward()
    assert not gets_no_gradient(network)
    expected = logits_of_training(network, batch)
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)


def test_options_reach_their_parts(build):
    network = build(
        "multimodal_moe",
        text__pooling="cls",
        tabular__hidden_dims=(7,),
        fusion__n_experts=3,
        head__dropout=0.25,
    )
    assert network.encoder_of("title").pooling == "cls"
    assert network.tabular.output_dim == 7
    assert len(network.fusion.experts) == 3
    assert network.head.dropout.p == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "multimodal_brt"}, "unknown architecture 'multimodal_brt'; did you mean"),
        ({"fusion__n_expert": 2}, "no option 'fusion__n_expert'; did you mean 'fusion__n_experts'"),
        ({"pooling": "cls"}, "no option 'pooling'; did you mean 'text__pooling'"),
        (
            {"architecture": "lstm", "tabular__dropout": 0.1},
            "lstm has no option 'tabular__dropout'",
        ),
        ({"fields": ()}, "text_fields is empty"),
        ({"n_outputs": 0}, "n_outputs must be at least 1, got 0"),
        ({"n_numeric": -1}, "n_numeric must be at least 0, got -1"),
        ({"cardinalities": [3, 0]}, r"cardinalities\[1\] must be at least 1, got 0"),
        (
            {"encoder": {"review": "tiny"}},
            "names the text fields review, but there are review, title",
        ),
    ],
)
def test_bad_values(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**{"architecture": "multimodal_moe", **arguments})


def test_a_spec_of_another_type(tiny_bert):
    with pytest.raises(TypeError, match="text_fields must be a dict of TextFieldSpec"):
        build_network("lstm", text_fields={"review": 60}, n_outputs=1)


def test_fields_that_cannot_share_an_encoder():
    specs = {"review": TextFieldSpec(60), "title": TextFieldSpec(70)}
    with pytest.raises(ValueError, match="'review' and 'title' differ in their tokenizer"):
        build_network("lstm", text_fields=specs, n_outputs=1, shared_encoder=True)


@pytest.mark.parametrize("architecture", WITH_BERT)
def test_a_tokenizer_of_more_ids_than_the_encoder(architecture, tiny_bert):
    specs = {"review": TextFieldSpec(61)}
    with pytest.raises(ValueError, match="tokenizer has 61 ids, but the encoder has 60 embeddings"):
        build_network(architecture, text_fields=specs, n_outputs=1, encoder=tiny_bert)


class OneArgument(torch.nn.Module):
    """For `torch.export`, which wants each argument by name."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        return self.network(**batch)


@pytest.mark.parametrize("architecture", ["multimodal_bert", "multimodal_cross_attn"])
def test_exported_for_any_number_of_rows_chunks_and_tokens(build, batch, architecture):
    network = OneArgument(build(architecture, fields=("review",)).eval())
    names = ("review_ids", "review_mask", "numeric", "categorical")
    batch = {name: batch[name] for name in names}
    n, chunks = torch.export.Dim("n"), torch.export.Dim("chunks")
    length = torch.export.Dim("length", max=32)
    text, rows = {0: n, 1: chunks, 2: length}, {0: n}
    shapes = dict(zip(names, (text, text, rows, rows), strict=True))
    exported = torch.export.export(network, (batch,), dynamic_shapes=(shapes,)).module()
    wider = {name: values[:2] for name, values in batch.items()}
    for name in names[:2]:
        wider[name] = F.pad(wider[name], (0, 8, 0, 3))
    with torch.no_grad():
        for other in (batch, wider):
            torch.testing.assert_close(exported(other), network(other), atol=1e-6, rtol=0)
