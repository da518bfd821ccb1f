"""What holds for every text encoder, and each against an independent way to compute it."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mtbert.modules import BertText, CnnText, LstmText, TextFieldSpec

KINDS = {"bert": BertText, "cnn": CnnText, "lstm": LstmText}
POOLINGS = [
    *((kind, pooling) for kind in KINDS for pooling in ("mean", "max", "cls")),
    ("bert", "pooler"),
]


@pytest.fixture
def make(tiny_bert):
    def make(kind, **options):
        spec = TextFieldSpec(tiny_bert["vocab_size"])
        return KINDS[kind].for_field(spec, tiny_bert, **options).eval()

    return make


@pytest.mark.parametrize(("kind", "pooling"), POOLINGS)
def test_a_row_does_not_depend_on_its_batch(make, text, kind, pooling):
    """The batch has longer chunks, more chunks and other rows."""
    encoder = make(kind, pooling=pooling)
    ids, mask = text
    together = encoder(ids, mask, with_tokens=True)
    for row in range(len(ids)):
        n_chunks = max(1, int(mask[row].any(-1).sum()))
        length = max(1, int(mask[row].sum(-1).max()))
        own = slice(row, row + 1), slice(n_chunks), slice(length)
        alone = encoder(ids[own], mask[own], with_tokens=True)
        torch.testing.assert_close(alone.vector[0], together.vector[row], atol=1e-6, rtol=0)
        torch.testing.assert_close(
            alone.tokens[alone.mask], together.tokens[row][together.mask[row]], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("kind", KINDS)
def test_more_padding_changes_nothing(make, text, kind):
    encoder = make(kind)
    ids, mask = text
    wider = [F.pad(part, (0, 6, 0, 2), value=value) for part, value in ((ids, 7), (mask, False))]
    torch.testing.assert_close(encoder(*wider).vector, encoder(ids, mask).vector, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kind", "pooling"), POOLINGS)
def test_a_row_without_tokens_is_zeros(make, text, kind, pooling):
    encoded = make(kind, pooling=pooling)(*text)
    assert encoded.vector.shape == (5, make(kind).output_dim)
    assert not encoded.vector[2].any()
    assert encoded.vector[[0, 1, 3, 4]].any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 0, 0), (2, 3, 0), (2, 0, 4), (2, 3, 4)])
def test_a_batch_without_tokens(make, kind, shape):
    """All weights are reached, as processes that train together need it."""
    encoder = make(kind).train()
    ids, mask = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool)
    encoded = encoder(ids, mask, with_tokens=True)
    assert not encoded.vector.any()
    assert encoded.tokens.shape[2] == encoder.output_dim
    assert not encoded.mask.any()
    encoded.vector.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_chunks_are_not_encoded(make, text, kind, monkeypatch):
    encoder = make(kind)
    encoded = []
    encode_chunks = encoder.encode_chunks

    def spy(ids, mask):
        encoded.append(mask)
        return encode_chunks(ids, mask)

    monkeypatch.setattr(encoder, "encode_chunks", spy)
    ids, mask = text
    encoder(ids, mask)
    (attended,) = encoded
    assert torch.equal(attended, mask[mask.any(-1)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_chunk_that_is_encoded_has_something_to_attend_to(make, kind, monkeypatch):
    """Softmax over nothing is NaN in runtimes other than torch."""
    encoder = make(kind)
    attended = []
    monkeypatch.setattr(
        encoder,
        "encode_chunks",
        lambda ids, mask: attended.append(mask) or torch.zeros(*ids.shape, encoder.output_dim),
    )
    ids, mask = torch.zeros(2, 3, 4, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.bool)
    encoder(ids, mask)
    assert [chunks.tolist() for chunks in attended] == [[[True, False, False, False]]]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_stand_where_the_mask_says(make, text, kind):
    encoder = make(kind, pooling="mean")
    ids, mask = text
    encoded = encoder(ids, mask, with_tokens=True)
    assert torch.equal(encoded.mask, mask.flatten(1))
    chunk = encoded.tokens[3].unflatten(0, mask.shape[1:])  # of 9, 9 and 2 tokens
    means = [chunk[position, mask[3, position]].mean(0) for position in range(3)]
    torch.testing.assert_close(encoded.vector[3], torch.stack(means).mean(0))


def test_bert_is_the_mean_over_chunks_of_the_mean_over_tokens(make, text):
    encoder = make("bert")
    ids, mask = text
    row, chunks = 4, (1, 5, 9)
    with torch.no_grad():
        states = [encoder.model(ids[row, [c], :n])[0][0] for c, n in enumerate(chunks)]
        expected = torch.stack([state.mean(0) for state in states]).mean(0)
        torch.testing.assert_close(encoder(ids, mask).vector[row], expected)


def test_cnn_is_the_largest_answer_of_each_filter(make, text):
    encoder = make("cnn", n_filters=2, kernel_widths=(2, 3), embedding_dim=4)
    ids, mask = text
    words = encoder.embedding(ids[1, 0, :3])  # row 1 has one chunk of three tokens
    zero = torch.zeros(1, 4)
    expected = []
    for convolution, padded in zip(
        encoder.convolutions,
        (torch.cat([words, zero]), torch.cat([zero, words, zero])),
        strict=True,
    ):
        width = convolution.kernel_size[0]
        windows = torch.stack([padded[start : start + width] for start in range(3)])
        answers = torch.einsum("pwd,fdw->pf", windows, convolution.weight) + convolution.bias
        expected.append(answers.relu().amax(0))
    torch.testing.assert_close(encoder(ids, mask).vector[1], torch.cat(expected))


@pytest.mark.parametrize("n_layers", [1, 2])
def test_lstm_equals_packed_sequences(make, text, n_layers):
    """Each direction against torch's own way to leave padding out."""
    encoder = make("lstm", hidden_dim=6, n_layers=n_layers)
    ids, mask = text[0][4], text[1][4]
    lengths = mask.sum(-1)
    embedded = encoder.embedding(ids)
    expected = []
    for lstm, backward in ((encoder.forward_lstm, False), (encoder.backward_lstm, True)):
        inputs = embedded.clone()
        for chunk, length in enumerate(lengths.tolist()):
            if backward:
                inputs[chunk, :length] = embedded[chunk, :length].flip(0)
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
        for chunk, length in enumerate(lengths.tolist()):
            if backward:
                states[chunk, :length] = states[chunk, :length].clone().flip(0)
        expected.append(states)
    tokens = encoder.encode_chunks(ids, mask)
    torch.testing.assert_close(tokens[mask], torch.cat(expected, dim=-1)[mask])


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_pooling(make, kind):
    with pytest.raises(ValueError, match="unknown pooling 'maen'; did you mean 'mean'"):
        make(kind, pooling="maen")


def test_only_bert_has_a_pooler(make):
    with pytest.raises(ValueError, match="unknown pooling 'pooler'"):
        make("cnn", pooling="pooler")
