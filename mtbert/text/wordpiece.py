"""A WordPiece vocabulary, trained on texts: the same texts always give the same one.

The trainer of the package tokenizers numbers the pieces of a word in the order of a hash table and
breaks ties by these numbers, so two runs differ. Here every character has its number beforehand.
"""

from collections import Counter

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET_SIZE = 1000  # characters, the most frequent; a word with any other is [UNK]


def train_wordpiece(texts, vocab_size, lower, min_frequency):
    """Return a `tokenizers.Tokenizer` in the manner of BERT.

    Parameters
    ----------
    texts : list of str
    vocab_size : int
    lower : bool
        Whether it writes small letters and takes accents off.
    min_frequency : int
        Pairs of pieces that occur less often are not merged.
    """
    from tokenizers import Tokenizer, models

    raw = _bert_tokenizer(Tokenizer(models.WordPiece(unk_token="[UNK]")), lower)
    raw.train_from_iterator(texts, _trainer(_alphabet(raw, texts), vocab_size, min_frequency))
    # For the trainer every character was a special token; the tokenizer knows five.
    model = models.WordPiece(raw.get_vocab(with_added_tokens=False), unk_token="[UNK]")
    tokenizer = _bert_tokenizer(Tokenizer(model), lower)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = _enclosing(tokenizer)
    return tokenizer


def _bert_tokenizer(tokenizer, lower):
    from tokenizers import decoders, normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _trainer(alphabet, vocab_size, min_frequency):
    from tokenizers import trainers

    return trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *alphabet],
        limit_alphabet=0,  # no characters but those
        show_progress=False,
    )


def _alphabet(tokenizer, texts):
    """First and, marked by ##, later characters of words, in a fixed order."""
    words = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    counts = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    kept = set(by_frequency[:ALPHABET_SIZE])
    later = {character for word in words for character in word[1:]}
    return sorted(kept) + [f"##{character}" for character in sorted(kept & later)]


def _enclosing(tokenizer):
    """[CLS] in front of a text, [SEP] behind it."""
    from tokenizers import processors

    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
