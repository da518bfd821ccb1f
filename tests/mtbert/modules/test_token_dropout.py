"""Tokens that are left out in training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbert.modules import BertText, CnnText, LstmText
from mtbert.modules.token_dropout import TokenDropout
from mtbert.pretrained import load_encoder

LENGTHS = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), min_size=1, max_size=4)


def make_chunks(lengths):
    """Chunks of so many tokens, each with another id; padding has the id 0."""
    lengths = torch.tensor(lengths)
    mask = torch.arange(max(1, int(lengths.max()))) < lengths.unsqueeze(-1)
    return torch.arange(1, mask.numel() + 1).view(mask.shape) * mask, mask


def what_stays(chunk, is_kept):
    """The same in plain Python: the first and the last token always do."""
    last = len(chunk) - 1
    return [t for i, t in enumerate(chunk) if i in (0, last) or is_kept[i]]


@given(LENGTHS, st.floats(0.05, 0.95), st.integers(0, 1000))
def test_the_rest_stays_in_order(lengths, p, seed):
    ids, mask = make_chunks(lengths)
    torch.manual_seed(seed)
    new_ids, new_mask = TokenDropout(p)(ids, mask)
    torch.manual_seed(seed)
    kept = torch.rand(mask.shape) >= p
    chunks = zip(*(tensor.flatten(0, 1) for tensor in (ids, mask, kept)), strict=True)
    expected = [what_stays(chunk[real].tolist(), is_kept) for chunk, real, is_kept in chunks]
    new_chunks = zip(new_ids.flatten(0, 1), new_mask.flatten(0, 1), strict=True)
    assert [chunk[real].tolist() for chunk, real in new_chunks] == expected
    assert new_mask.shape[-1] == max(1, *map(len, expected))
    assert torch.equal(new_mask, new_mask.sort(dim=-1, descending=True, stable=True).values)


def test_the_share_is_p():
    ids, mask = make_chunks([[402, 402]] * 50)
    torch.manual_seed(0)
    _, kept = TokenDropout(0.3)(ids, mask)
    inner = kept.sum(-1) - 2
    assert float(inner.float().mean()) / 400 == pytest.approx(0.7, abs=0.01)
    assert len(inner.unique()) > 10


def test_predictions_see_all():
    ids, mask = make_chunks([[5, 0]])
    for module in (TokenDropout(0.5).eval(), TokenDropout(0.0)):
        assert all(
            found is given for found, given in zip(module(ids, mask), (ids, mask), strict=True)
        )


@pytest.mark.parametrize("make", ["bert", "cnn", "lstm"])
def test_every_encoder_has_it(make, tiny_bert):
    options = {"token_dropout": 0.5}
    encoder = {
        "bert": lambda: BertText(load_encoder(tiny_bert).model, **options),
        "cnn": lambda: CnnText(60, dropout=0.0, **options),
        "lstm": lambda: LstmText(60, dropout=0.0, **options),
    }[make]()
    if make == "bert":
        encoder.model.eval()
    ids, mask = make_chunks([[9, 4], [7, 7]])
    whole = encoder.eval()(ids, mask)
    encoder.token_dropout.train()
    seen = encoder(ids, mask, with_tokens=True)
    assert not torch.allclose(seen.vector, whole.vector)
    assert seen.tokens.shape[1] == seen.mask.shape[1] < mask.shape[1:].numel()


@pytest.mark.parametrize(
    ("p", "error"), [(1.0, ValueError), (-0.1, ValueError), ("few", TypeError)]
)
def test_bad_shares(p, error):
    with pytest.raises(error, match="token_dropout must be"):
        CnnText(60, token_dropout=p)
