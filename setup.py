"""Compiles the kernels of ``neurons/kernels/csrc`` at installation; everything else stands in pyproject.toml.

The library has a plain C interface, so that one build serves every version of Python and torch. Without a C++ compiler
the installation goes on, and snnfer runs in plain torch; ``snnfer info`` says so.
"""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

SOURCES = Path("neurons", "kernels", "csrc")
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-g0",
]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"]
AVX2 = ["-mavx2", "-mfma", "-mbmi2"]


def levels() -> dict[str, list[str]]:
    """Instruction sets that are compiled, with their flags; the processor's is chosen when the library is loaded."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return {"base": [], "avx2": AVX2, "avx512": [*AVX2, *AVX512]}
    return {"base": []}


class BuildKernels(build_ext):
    """Compiles every source once per instruction set, in parallel, links all into one library, and fails softly."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        sources = sorted(SOURCES.glob("*.cpp"))
        jobs = [(source, level, flags) for level, flags in levels().items() for source in sources]
        jobs = [job for job in jobs if job[0].name != "dispatch.cpp"] + [(SOURCES / "dispatch.cpp", "dispatch", [])]
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = [each for compiled in pool.map(self._compile, jobs) for each in compiled]
            target.parent.mkdir(parents=True, exist_ok=True)
            self.compiler.link_shared_object(objects, str(target), extra_postargs=["-pthread"], target_lang="c++")
        except (CCompilerError, BaseError, OSError):
            target.unlink(missing_ok=True)
            self.warn(
                "the kernels of snnfer were not compiled, because the C++ compiler is missing or failed (its messages "
                "stand above); snnfer will run in plain torch. Install a C++ compiler and snnfer again to have them"
            )

    def _compile(self, job: tuple[Path, str, list[str]]) -> list[str]:
        source, level, flags = job
        name = [] if level == "dispatch" else [f"-DSNNFER_LEVEL={level}"]
        return self.compiler.compile(
            [str(source)],
            output_dir=str(Path(self.build_temp, level)),
            extra_postargs=[*FLAGS, *flags, *name],
            depends=[str(header) for header in SOURCES.glob("*.h")],
        )

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + SUFFIX

    def get_outputs(self) -> list[str]:
        return [output for output in super().get_outputs() if Path(output).exists()]


class WheelForEveryPython(bdist_wheel):
    """A wheel of this platform for every version of Python: the library does not know Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "snnfer.neurons.kernels._snnfer_cpu",
            sources=[source.as_posix() for source in sorted(SOURCES.glob("*.cpp"))],
            depends=[header.as_posix() for header in sorted(SOURCES.glob("*.h"))],
        )
    ],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": WheelForEveryPython},
)
