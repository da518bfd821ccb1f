"""How many threads the kernels get."""

import joblib

from mtgbm.engine._openmp import has_openmp, max_threads

#: Steps of about a nanosecond below which waking other threads costs more than they save. On a
#: busy machine it costs far more: threads that wait for each other spin.
PARALLEL_STEPS = 20_000


def threads_for(steps, n_threads):
    """`n_threads` where the work is worth it, else 1; results do not depend on it."""
    return n_threads if steps > PARALLEL_STEPS else 1


def effective_n_threads(n_jobs):
    """Turn scikit-learn's `n_jobs` into a thread count.

    None and -1 mean every core this process may use: never more than OpenMP's own limit (set by
    OMP_NUM_THREADS, joblib workers and threadpoolctl) nor than `joblib.cpu_count()`, which knows
    of cgroups and affinity masks. Other negative values leave ``-n_jobs - 1`` of them free.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0; use 1 for one thread, -1 or None for all cores.")
    if not has_openmp():
        return 1
    available = min(max_threads(), joblib.cpu_count())
    if n_jobs is None:
        return available
    return n_jobs if n_jobs > 0 else max(1, available + 1 + n_jobs)


def threads_for_jobs(steps, n_jobs):
    """`threads_for`, given scikit-learn's `n_jobs`.

    To ask for the number of cores takes longer than few steps do, so then it is not asked for.
    """
    if steps <= PARALLEL_STEPS and n_jobs != 0:
        return 1
    return effective_n_threads(n_jobs)
