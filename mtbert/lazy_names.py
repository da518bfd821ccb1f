"""Names of a package that are imported when they are first asked for (PEP 562).

So the scorer of :mod:`mtbert.onnx` uses the functions behind the text steps where neither
scikit-learn nor torch is installed.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def import_on_demand(package: str, module_of: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    module_of : dict of str to str
        Public name to the module of the package that defines it.
    """

    def find(name):
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return find
