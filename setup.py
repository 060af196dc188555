"""Compiles the kernels of ``neurons/kernels/csrc`` at installation; everything else stands in pyproject.toml.

The library has a plain C interface, so that one build serves every version of Python and torch. Without a C++ compiler
the installation goes on, and snnfer runs in plain torch; ``snnfer info`` says so.
"""

import platform
import sys
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
    """Compiles every source once per instruction set, links all into one library, and fails softly."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        sources = sorted(SOURCES.glob("*.cpp"))
        try:
            objects = self._compile([SOURCES / "dispatch.cpp"], "dispatch", [])
            kernels = [source for source in sources if source.name != "dispatch.cpp"]
            for level, flags in levels().items():
                objects += self._compile(kernels, level, [*flags, f"-DSNNFER_LEVEL={level}"])
            target.parent.mkdir(parents=True, exist_ok=True)
            self.compiler.link_shared_object(objects, str(target), extra_postargs=["-pthread"], target_lang="c++")
        except (CCompilerError, BaseError, OSError) as error:
            target.unlink(missing_ok=True)
            self.warn(f"the kernels of snnfer were not compiled ({error}); it will run in plain torch")

    def _compile(self, sources: list[Path], folder: str, flags: list[str]) -> list[str]:
        return self.compiler.compile(
            [str(source) for source in sources],
            output_dir=str(Path(self.build_temp, folder)),
            extra_postargs=[*FLAGS, *flags],
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
