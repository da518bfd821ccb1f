"""A batch of two text fields and a table, and the shape of a very small BERT."""

import pytest
import torch

VOCAB_SIZE = 60
# Tokens of each chunk: rows of one, two and three chunks, and one without any token.
LENGTHS = torch.tensor([[9, 4, 0], [3, 0, 0], [0, 0, 0], [9, 9, 2], [1, 5, 9]])
TINY_BERT = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def tiny_bert():
    return dict(TINY_BERT)


@pytest.fixture
def small_config():
    """A function of the type of model: the config of one that is as small as TINY_BERT."""

    def small_config(model_type):
        size = "dim" if model_type == "distilbert" else "hidden_size"
        depth = "n_layers" if model_type == "distilbert" else "num_hidden_layers"
        heads = "n_heads" if model_type == "distilbert" else "num_attention_heads"
        shape = {size: 16, depth: 2, heads: 2, "vocab_size": VOCAB_SIZE}
        return {"model_type": model_type, **shape}

    return small_config


@pytest.fixture
def text():
    """Token ids and mask of shape (5, 3, 9)."""
    mask = torch.arange(9) < LENGTHS.unsqueeze(-1)
    return torch.randint(5, VOCAB_SIZE, mask.shape).masked_fill(~mask, 0), mask


@pytest.fixture
def batch(text):
    ids, mask = text
    return {
        "review_ids": ids,
        "review_mask": mask,
        "title_ids": ids.flip(0),
        "title_mask": mask.flip(0),
        "numeric": torch.randn(5, 3),
        "categorical": torch.tensor([[0, 1], [1, 2], [2, 3], [1, 0], [0, 4]]),
    }
