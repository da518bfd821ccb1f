"""The contenders of `benchmarks.text_quality`: they get the same cut and return test probabilities.

A contender is called with a `benchmarks.text_sets.TextCut` and `Settings`. It returns an array
(n_test_rows, n_classes) whose columns are the sorted classes.

mtbert          the defaults: a net and trees beside it, joined by what rows say that neither has
                learned from: validation rows of a published split, folds of a small table, or rows
                held out of a large one
mtbert_net      the net alone (stacking=None), as all further nets are
mtbert_mean     the plain mean of net and trees (join="mean"): one net, and no row is held out
mtbert_net_b    mtbert_net from another seed
mtbert_vote     the mean of the probabilities of the last two, in which the first, a net and trees,
                counts twice: so each net and the trees are a third. It is what scikit-learn's
                VotingClassifier of them gives
multimodal_cnn, multimodal_moe, multimodal_gate_fusion, multimodal_cross_attn, bert, lstm
                the other architectures; the last two see no table
text_only       mtbert_net that sees no table
table_only      mtbert_net whose only text is one word, the same in all rows
all_text        mtbert_net whose only column is a text of all: "Age: 33. Title: Lovely. ..."
tfidf           TF-IDF of words and pairs of words, logistic regression; sees no table
tfidf_stack     out-of-fold probabilities of tfidf beside the table, LightGBM
tfidf_svd       100 singular vectors of TF-IDF beside the table, LightGBM
frozen_encoder  mean token embeddings of the pretrained encoder beside the table, LightGBM
lightgbm_table  LightGBM; sees no text
mtgbm_table     mtgbm; sees no text

In the table of trees, categories are out-of-fold risks of all classes. Several text columns are one
text for all that is not mtbert.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from benchmarks.parts import encode_parts
from benchmarks.quality_contenders import read_options
from mtbert import MultimodalTextTabularClassifier
from mtbert.columns import ColumnRoles
from mtbert.pretrained import find_encoder, load_encoder
from mtgbm import MultiTaskLGBMClassifier

OURS, NET = "mtbert", "mtbert_net"
MEAN, OTHER_NET, VOTE = "mtbert_mean", "mtbert_net_b", "mtbert_vote"
#: The contender that is each architecture.
ARCHITECTURES = {
    "multimodal_bert": NET,
    "multimodal_cnn": "multimodal_cnn",
    "multimodal_moe": "multimodal_moe",
    "multimodal_gate_fusion": "multimodal_gate_fusion",
    "multimodal_cross_attn": "multimodal_cross_attn",
    "bert": "bert",
    "lstm": "lstm",
}
#: Contenders without a net of mtbert.
PEERS = ("lightgbm_table", "mtgbm_table", "tfidf", "tfidf_stack", "tfidf_svd", "frozen_encoder")
#: Contenders that see the text only, or the table only.
TEXT_ONLY = ("text_only", "bert", "lstm", "tfidf")
TABLE_ONLY = ("table_only", "lightgbm_table", "mtgbm_table")
ALL_TEXT = "all_text"

#: How far the seed of a second net is from that of the first.
SECOND_SEED = 1000
#: Options of a net and trees whose scores are averaged.
AVERAGED = {"stacking": "gbdt", "stacking_options": {"join": "mean"}}
ALONE = {"stacking": None}
FOLDS = 5
N_COMPONENTS = 100
#: Of all trees: few leaves and small steps, since there is no validation part to stop by.
TREES = {"n_estimators": 200, "learning_rate": 0.03, "num_leaves": 7}
EMBEDDED_ROWS = 64
NO_TEXT = "none"


@dataclass(frozen=True)
class Settings:
    """What all contenders share.

    Attributes
    ----------
    seed : int
    n_jobs : int
        Threads of trees.
    net : dict
        Parameters of all nets.
    """

    seed: int
    n_jobs: int
    net: dict = field(default_factory=dict)


def fit_net(cut, settings, options, X_train=None, X_test=None, roles=None):
    """Ours; tables and roles are the cut's own unless others are given."""
    X_train = cut.X_train if X_train is None else X_train
    X_test = cut.X_test if X_test is None else X_test
    model = make_net(roles or cut.roles, settings, options)
    held = validation_rows(cut) if model.stacking else {}
    return model.fit(X_train, cut.y_train, **held).predict_proba(X_test)


def make_net(roles, settings, options):
    """An estimator, not fitted; `options` have the last word."""
    chosen = {
        "text_columns": list(roles.text),
        "numeric_columns": list(roles.numeric),
        "categorical_columns": list(roles.categorical),
        "random_state": settings.seed,
        **settings.net,
        **options,
    }
    return MultimodalTextTabularClassifier(**chosen)


def validation_rows(cut):
    """Arguments of `fit`, if the cut has such rows."""
    if cut.validation is None:
        return {}
    X, y = cut.table.X.iloc[cut.validation], cut.table.y.iloc[cut.validation].to_numpy()
    return {"X_val": X, "y_val": y}


def fit_other_net(cut, settings):
    return fit_net(cut, settings, ALONE | {"random_state": SECOND_SEED + settings.seed})


def fit_text_only(cut, settings):
    return fit_net(cut, settings, ALONE, roles=ColumnRoles(cut.roles.text, (), ()))


def fit_table_only(cut, settings):
    """The text encoder does not matter, as it always says the same; the smallest is fastest."""
    text, *_ = cut.roles.text
    roles = ColumnRoles((text,), cut.roles.numeric, cut.roles.categorical)
    options = ALONE | {"architecture": "multimodal_cnn"}
    tables = [X.assign(**{text: NO_TEXT}) for X in (cut.X_train, cut.X_test)]
    return fit_net(cut, settings, options, *tables, roles)


def fit_all_text(cut, settings):
    tables = [all_as_text(X, cut.roles) for X in (cut.X_train, cut.X_test)]
    return fit_net(cut, settings, ALONE, *tables, ColumnRoles(("row",), (), ()))


def all_as_text(X, roles):
    """A table with the one column "row"; what is missing is left out."""
    import pandas as pd

    names = [*roles.numeric, *roles.categorical, *roles.text]
    cells = X[names].astype(object)
    rows = cells.where(X[names].notna(), None).itertuples(index=False, name=None)
    texts = [
        " ".join(
            f"{name}: {cell}." for name, cell in zip(names, row, strict=True) if cell is not None
        )
        for row in rows
    ]
    return pd.DataFrame({"row": texts}, index=X.index)


def texts_of(X, roles):
    """The text columns of each row as one string."""
    rows = X[list(roles.text)].fillna("").itertuples(index=False, name=None)
    return [" ".join(row) for row in rows]


def tfidf():
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def tfidf_model():
    """Each class against the others, in the solver that is fastest for so many terms."""
    linear = LogisticRegression(C=1.0, solver="liblinear", dual=True, random_state=0)
    return make_pipeline(tfidf(), OneVsRestClassifier(linear))


def fit_tfidf(cut, settings):
    model = tfidf_model().fit(texts_of(cut.X_train, cut.roles), cut.y_train)
    return model.predict_proba(texts_of(cut.X_test, cut.roles))


def fit_tfidf_stack(cut, settings):
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=settings.seed)
    texts = texts_of(cut.X_train, cut.roles)
    out_of_fold = cross_val_predict(
        tfidf_model(), texts, cut.y_train, cv=folds, method="predict_proba"
    )
    return fit_lightgbm(cut, settings, (out_of_fold, fit_tfidf(cut, settings)))


def fit_tfidf_svd(cut, settings):
    words = tfidf()
    train = words.fit_transform(texts_of(cut.X_train, cut.roles))
    n_components = min(N_COMPONENTS, train.shape[1] - 1)
    svd = TruncatedSVD(n_components, random_state=settings.seed).fit(train)
    test = words.transform(texts_of(cut.X_test, cut.roles))
    return fit_lightgbm(cut, settings, (svd.transform(train), svd.transform(test)))


def fit_frozen_encoder(cut, settings):
    encoder = frozen_encoder(settings.net.get("encoder", "auto"))
    tables = [encoder.embed(texts_of(X, cut.roles)) for X in (cut.X_train, cut.X_test)]
    return fit_lightgbm(cut, settings, tables)


@lru_cache(maxsize=1)
def frozen_encoder(source):
    return FrozenEncoder(source)


class FrozenEncoder:
    """Mean token embeddings of texts; a text is embedded once.

    Parameters
    ----------
    source : str or path-like
        Of a pretrained encoder with its tokenizer, as :func:`mtbert.pretrained.find_encoder` takes
        it.
    """

    def __init__(self, source):
        from tokenizers import Tokenizer

        from mtbert.net import find_device

        found = find_encoder(source)
        if found.tokenizer_path is None:
            raise ValueError(
                f"frozen_encoder needs a pretrained encoder, and encoder={source!r} has none; "
                "name a folder that has one, or choose other contenders."
            )
        self._device = find_device("auto")
        self._model = load_encoder(source).model.to(self._device)
        self._tokenizer = Tokenizer.from_file(str(found.tokenizer_path / "tokenizer.json"))
        self._tokenizer.enable_truncation(found.max_length)
        self._tokenizer.enable_padding()
        self._known = {}

    def embed(self, texts):
        """Vectors of shape (n_texts, hidden size), float32."""
        new = sorted(set(texts) - self._known.keys(), key=len)
        for start in range(0, len(new), EMBEDDED_ROWS):
            batch = new[start : start + EMBEDDED_ROWS]
            self._known.update(zip(batch, self._embed_batch(batch), strict=True))
        return np.array([self._known[text] for text in texts])

    def _embed_batch(self, texts):
        import torch

        encodings = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in encodings], device=self._device)
        mask = torch.tensor([e.attention_mask for e in encodings], device=self._device)
        with torch.inference_mode():
            tokens = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        return ((tokens * weights).sum(dim=1) / weights.sum(dim=1)).cpu().numpy()


def fit_lightgbm(cut, settings, beside=None):
    """LightGBM on the table, with more columns (training, test) beside it if given."""
    import lightgbm

    model = lightgbm.LGBMClassifier(
        **TREES, n_jobs=settings.n_jobs, random_state=settings.seed, verbose=-1
    )
    return fit_trees(model, cut, settings, beside)


def fit_mtgbm(cut, settings):
    model = MultiTaskLGBMClassifier(**TREES, n_jobs=settings.n_jobs, random_state=settings.seed)
    return fit_trees(model, cut, settings)


def fit_trees(model, cut, settings, beside=None):
    names = [*cut.roles.numeric, *cut.roles.categorical]
    parts = encode_parts(cut.table.X[names], cut.table.y, [cut.train, cut.test], settings.seed)
    (train, _), (test, _) = parts
    if beside is not None:
        train, test = (
            np.hstack([table, more]) for table, more in zip((train, test), beside, strict=True)
        )
    return model.fit(train, cut.y_train).predict_proba(test)


def ours(**options):
    return partial(fit_net, options=options)


#: By the names under which they are chosen and printed; the cheap ones first.
CONTENDERS = {
    "lightgbm_table": fit_lightgbm,
    "mtgbm_table": fit_mtgbm,
    "tfidf": fit_tfidf,
    "tfidf_stack": fit_tfidf_stack,
    "tfidf_svd": fit_tfidf_svd,
    "frozen_encoder": fit_frozen_encoder,
    "table_only": fit_table_only,
    "text_only": fit_text_only,
    ALL_TEXT: fit_all_text,
    OURS: ours(),
    NET: ours(**ALONE),
    MEAN: ours(**AVERAGED),
    OTHER_NET: fit_other_net,
    **{name: ours(architecture=name, **ALONE) for name in ARCHITECTURES.values() if name != NET},
}

#: Contenders that are means of the probabilities of others, with their weights.
VOTES = {VOTE: {MEAN: 2, OTHER_NET: 1}}
NAMES = (*CONTENDERS, *VOTES)


def is_ours(name):
    """Whether net and trees, the net alone, or they with other options."""
    return name in (OURS, NET, MEAN, OTHER_NET, *VOTES) or name.startswith(f"{OURS} ")


def variant(text):
    """A contender of other options, written as arguments: 'learning_rate=3e-4, epochs=4'.

    Returns
    -------
    name : str
    contender : callable

    Raises
    ------
    ValueError
        If the text cannot be read or names no parameter of the estimator.
    """
    written, options = read_options(text, MultimodalTextTabularClassifier())
    return f"{OURS} {written}", ours(**options)
