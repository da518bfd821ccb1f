"""Where the time of a training goes."""

import time


class Profile:
    """Adds up the seconds of named phases.

    Attributes
    ----------
    seconds : dict
        Seconds of each phase, in the order in which they first began.
    calls : dict
        How often each was entered.

    Examples
    --------
    >>> profile = Profile()
    >>> with profile("histograms"):
    ...     total = sum(range(1000))
    >>> profile.calls
    {'histograms': 1}
    """

    def __init__(self):
        self.seconds = {}
        self.calls = {}
        self._start = time.perf_counter()

    def __call__(self, phase):
        """Return a context whose duration counts for `phase`; phases do not overlap."""
        return _Phase(self, phase)

    def __str__(self):
        """A table of seconds, shares and calls; the last line is what no phase has counted."""
        total = time.perf_counter() - self._start
        seconds = {**self.seconds, "other": total - sum(self.seconds.values())}
        lines = [f"{'phase':<14}{'seconds':>10}{'share':>8}{'calls':>9}"]
        for phase, spent in seconds.items():
            calls = self.calls.get(phase, "")
            lines.append(f"{phase:<14}{spent:>10.3f}{spent / total:>8.1%}{calls:>9}")
        lines.append(f"{'total':<14}{total:>10.3f}")
        return "\n".join(lines)


class _Phase:
    __slots__ = ("_name", "_profile", "_start")

    def __init__(self, profile, name):
        self._profile = profile
        self._name = name

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *exception):
        profile, name = self._profile, self._name
        spent = time.perf_counter() - self._start
        profile.seconds[name] = profile.seconds.get(name, 0.0) + spent
        profile.calls[name] = profile.calls.get(name, 0) + 1
