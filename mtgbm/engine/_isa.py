"""Which compiled variant of the kernels this process uses.

The hot kernels are compiled once per instruction set from one source (see setup.py). The widest
one that the processor has is taken when mtgbm is imported; the environment variable MTGBM_ISA
(``baseline``, ``avx2`` or ``avx512``) overrides that, which is how the tests compare the variants.
All variants return the same bits.
"""

import importlib
import os

from mtgbm.engine._common import supported_instruction_sets

ENVIRONMENT_VARIABLE = "MTGBM_ISA"


def choose_instruction_set(wanted, supported):
    """Return `wanted` if the processor has it, or the widest of `supported` if None.

    Parameters
    ----------
    wanted : str or None
    supported : list of str
        Narrowest first.

    Raises
    ------
    ValueError
        If this machine cannot run `wanted`.
    """
    if not wanted:
        return supported[-1]
    if wanted not in supported:
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE}={wanted!r}: this machine runs {', '.join(supported)}. "
            "Unset the variable to let mtgbm choose."
        )
    return wanted


INSTRUCTION_SET = choose_instruction_set(
    os.environ.get(ENVIRONMENT_VARIABLE), supported_instruction_sets()
)


def load_kernel(name):
    """Import the variant of the kernel module `name`, as in ``"mtgbm.engine._histogram"``."""
    return importlib.import_module(f"{name}_{INSTRUCTION_SET}")
