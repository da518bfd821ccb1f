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
        self._phases = {}
        self._start = time.perf_counter()

    def __call__(self, phase):
        """Return a context whose duration counts for `phase`; phases do not overlap."""
        found = self._phases.get(phase)
        if found is None:
            found = self._phases[phase] = _Phase()
        return found

    def add(self, phase, seconds, calls):
        """Count for `phase` what was measured elsewhere."""
        found = self(phase)
        found.seconds += seconds
        found.calls += calls

    @property
    def seconds(self):
        return {name: phase.seconds for name, phase in self._phases.items()}

    @property
    def calls(self):
        return {name: phase.calls for name, phase in self._phases.items()}

    def __str__(self):
        """A table of seconds, shares and calls; the line "other" is what no phase has counted."""
        total = time.perf_counter() - self._start
        seconds = self.seconds
        seconds["other"] = total - sum(seconds.values())
        lines = [f"{'phase':<14}{'seconds':>10}{'share':>8}{'calls':>9}"]
        for phase, spent in seconds.items():
            calls = self.calls.get(phase, "")
            lines.append(f"{phase:<14}{spent:>10.3f}{spent / total:>8.1%}{calls:>9}")
        lines.append(f"{'total':<14}{total:>10.3f}")
        return "\n".join(lines)


class _Phase:
    """A stopwatch: entered, it runs."""

    __slots__ = ("_start", "calls", "seconds")

    def __init__(self):
        self.seconds = 0.0
        self.calls = 0

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *exception):
        self.seconds += time.perf_counter() - self._start
        self.calls += 1
