"""Build of the Cython kernels: probes OpenMP and compiles the hot ones once per instruction set.

Everything else about the distribution stands in pyproject.toml.

Environment
-----------
MTGBM_NO_OPENMP=1
    Build single-threaded kernels where the compiler has no OpenMP. Without it a missing OpenMP is
    an error, because a silently single-threaded build is a slow one that nobody notices.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

# Kernels whose loops gain from wide registers are compiled once per instruction set, from the
# same source; mtgbm/engine/_isa.py picks the variant when the package is imported.
DISPATCHED = [
    "mtgbm/engine/_binning.pyx",
    "mtgbm/engine/_contributions.pyx",
    "mtgbm/engine/_histogram.pyx",
    "mtgbm/engine/_quantization.pyx",
    "mtgbm/engine/_splitting.pyx",
    "mtgbm/engine/_leaves.pyx",
    "mtgbm/engine/_predictor.pyx",
    "mtgbm/engine/_scorer.pyx",
    "mtgbm/objectives/_gradients.pyx",
]
SINGLE = [
    "mtgbm/engine/_common.pyx",
    "mtgbm/engine/_growth.pyx",
    "mtgbm/engine/_infinity.pyx",
    "mtgbm/engine/_memory.pyx",
    "mtgbm/engine/_openmp.pyx",
    "mtgbm/engine/_partition.pyx",
]

# Fused multiply-add rounds once where two instructions round twice: without -ffp-contract=off the
# variants would give different trees on different machines.
BASE_FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# Kernels take their lane count as a literal; only an inlined loop can be unrolled for it.
FORCE_INLINE = ["-DCYTHON_INLINE=__inline__ __attribute__((always_inline))"]
ISA_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
}
X86 = platform.machine().lower() in ("x86_64", "amd64")
INSTRUCTION_SETS = list(ISA_FLAGS) if X86 else ["baseline"]

OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def openmp_flags():
    """Flags that switch OpenMP on, after a program compiled with them has run."""
    if os.environ.get("MTGBM_NO_OPENMP") == "1":
        return []
    compiler = os.environ.get("CC", "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(OPENMP_PROBE)
        try:
            subprocess.run([*compiler, "-fopenmp", source, "-o", binary], check=True)
            subprocess.run([binary], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(
                f"mtgbm: {' '.join(compiler)} built no program with -fopenmp ({error}). Install "
                "a compiler with OpenMP (Debian: apt-get install gcc libgomp1), or set "
                "MTGBM_NO_OPENMP=1 for a single-threaded build."
            )
    return ["-fopenmp"]


def extension(name, source, flags, openmp):
    return Extension(
        name,
        [str(source)],
        include_dirs=[np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=BASE_FLAGS + FORCE_INLINE + flags + openmp,
        extra_link_args=openmp,
    )


def dispatched_extensions(source, openmp):
    """One extension per instruction set: Cython names a module after its file, hence the copies."""
    package, stem = ".".join(Path(source).parent.parts), Path(source).stem
    for isa in INSTRUCTION_SETS:
        copy = Path("build", "isa", f"{stem}_{isa}.pyx")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != Path(source).read_bytes():
            shutil.copyfile(source, copy)
        yield extension(f"{package}.{copy.stem}", copy, ISA_FLAGS[isa], openmp)


def extensions():
    openmp = openmp_flags()
    for source in SINGLE:
        yield extension(source.removesuffix(".pyx").replace("/", "."), source, [], openmp)
    for source in DISPATCHED:
        yield from dispatched_extensions(source, openmp)


setup(
    ext_modules=cythonize(
        list(extensions()),
        build_dir="build/c",
        include_path=["."],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
