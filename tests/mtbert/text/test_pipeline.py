"""The steps together."""

import pickle

import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from mtbert.text import NAMED_STEPS, EmojiRemover, Tokenizer, make_text_pipeline

CLEANING = ["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"]


def test_a_dialogue_is_cleaned(dialogues):
    rows = make_text_pipeline(CLEANING).fit_transform(dialogues)
    assert rows == [
        [
            "Hi, my parcel #4711 hasn't arrived",
            "Hello Ana & thank you for writing. I'll check it for you.",
            "ok",
            "It was sent on Monday.",
        ],
        ["Bonjour, le pull est trop étroit. Échange possible ?", "Oui !"],
        ["Love this dress!! True to size, I'm 5'4\" and < 130 lbs. <3"],
        [""],
    ]


def test_all_steps_end_in_bounded_chunks(dialogues, trained):
    tokenizer = Tokenizer(trained.tokenizer_, max_sen_len=16)
    pipeline = make_text_pipeline(tokenizer=tokenizer, dialogue_chunker__max_total_chunks=3)
    rows = pipeline.fit_transform(dialogues)
    assert max(len(chunk) for row in rows for chunk in row) <= 16
    assert [len(row) for row in rows][2:] == [2, 1]
    assert len(rows[0]) == 3
    text = " ".join(trained.tokenizer_.decode(chunk) for chunk in rows[0])
    assert text.startswith("hi, my parcel # 4711 hasn ' t arrived hello ana & thank you")


def test_a_tokenizer_trained_in_the_pipeline_counts_for_the_chunker(dialogues):
    tokenizer = Tokenizer(vocab_size=200, min_frequency=1, max_sen_len=20)
    pipeline = make_text_pipeline(tokenizer=tokenizer).fit(dialogues)
    counter = pipeline["dialogue_chunker"].token_counter_
    assert counter.get_vocab() == pipeline["tokenizer"].tokenizer_.get_vocab()
    rows = pipeline.transform(dialogues)
    again = pickle.loads(pickle.dumps(pipeline)).transform(dialogues)
    assert repr(rows) == repr(again) == repr(clone(pipeline).fit_transform(dialogues))
    assert not hasattr(tokenizer, "tokenizer_")


def test_cleaning_needs_no_fit(recwarn):
    assert make_text_pipeline(CLEANING).transform(["<b>a</b> 😀"]) == [["a"]]
    assert not recwarn.list


def test_the_order_is_that_of_the_names():
    text = ["&lt;b&gt;bold&lt;/b&gt;  😀"]
    once = make_text_pipeline(["html_normalizer", "text_normalizer"])
    twice = make_text_pipeline(
        ["html_normalizer", ("again", NAMED_STEPS["html_normalizer"]()), "emoji_remover"]
    )
    assert list(once.named_steps) == ["html_normalizer", "text_normalizer"]
    assert once.fit_transform(text) == ["<b>bold</b> 😀"]
    assert twice.fit_transform(text) == ["bold   "]


def test_cleaning_feeds_scikit_learn():
    model = make_pipeline(make_text_pipeline(CLEANING[1:]), TfidfVectorizer())
    assert model.fit_transform(["<b>good</b>", None, "bad&amp;good"]).shape == (3, 2)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (["emoji_remove"], ValueError, "unknown text step 'emoji_remove'; did you mean 'emoji_rem"),
        ([EmojiRemover()], ValueError, r"unknown text step EmojiRemover\(\)"),
        (["emoji_remover"] * 2, ValueError, "The step 'emoji_remover' comes twice"),
        (["tokenizer", "emoji_remover"], ValueError, "The step 'tokenizer' must come last"),
        ([], ValueError, "steps is empty; name some of dialogue_splitter"),
        ("tokenizer", TypeError, r"steps must be a list, .* write \['tokenizer'\]"),
    ],
)
def test_bad_steps(steps, error, message):
    with pytest.raises(error, match=message):
        make_text_pipeline(steps)


def test_a_parameter_of_no_step_is_refused():
    with pytest.raises(ValueError, match="Invalid parameter 'lowr' for estimator TextNormalizer"):
        make_text_pipeline(CLEANING, text_normalizer__lowr=True)
