"""Tables of two text columns, and models of them."""

import pytest

from mtbert.modules import ARCHITECTURES


@pytest.fixture
def make_two_texts(make_reviews):
    """The reviews and a title, some of them long enough for several chunks and some missing."""

    def make(n=48, **options):
        X, y = make_reviews(n, **options)
        long = X["review"].where(X.index % 3 > 0, X["review"] + " it's " + X["review"] + " very!")
        title = X["review"].str.split().str[:2].str.join(" ").where(X.index % 4 > 0, None)
        return X.assign(review=long, title=title), y

    return make


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param
