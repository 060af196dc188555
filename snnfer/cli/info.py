"""``snnfer info``: versions, extras, devices, kernels, and what is missing."""

import argparse
import os
import platform
import re
import sys
from importlib import metadata

_MARKED_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_FOR_DEVELOPERS = ("dev", "docs")


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``info``."""
    parser = subparsers.add_parser(
        "info",
        help="show versions, extras, devices and kernels, and what is missing",
        description=(
            "Shows which optional parts of snnfer are installed, the pip line for those that are not, "
            "which kernels run the neurons, and why others do not."
        ),
    )
    parser.set_defaults(run=info)


def info(args: argparse.Namespace) -> int:
    """Print versions, extras, devices and kernels."""
    print(f"snnfer   {version_of('snnfer') or 'not installed (running from a source folder)'}")
    print(f"Python   {platform.python_version()} ({sys.platform}, {platform.machine()})")
    for package in ("torch", "numpy"):
        print(f"{package:8} {version_of(package)}")
    print()
    for line in extra_lines():
        print(line)
    print(lava_line())
    print()
    for line in device_lines():
        print(line)
    print()
    for line in kernel_lines():
        print(line)
    return 0


def version_of(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def extra_lines() -> list[str]:
    """One line per extra: installed, or what is missing and the pip line that installs it."""
    lines = []
    for extra, packages in extras().items():
        missing = [package for package in packages if version_of(package) is None]
        if missing:
            lines.append(f"{extra:14} missing {', '.join(missing)}: pip install 'snnfer[{extra}]'")
        else:
            versions = ", ".join(f"{package} {version_of(package)}" for package in packages)
            lines.append(f"{extra:14} installed ({versions})")
    return lines


def extras() -> dict[str, list[str]]:
    """Packages of every extra for this Python, from the metadata of the installed snnfer; a collection is left out."""
    try:
        requirements = metadata.requires("snnfer") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = _MARKED_EXTRA.search(requirement)
        name = _NAME.match(requirement)
        if extra and name and extra[1] not in (*_FOR_DEVELOPERS, "all") and applies_here(requirement):
            packages = found.setdefault(extra[1], [])
            if name[0] != "snnfer":
                packages.append(name[0])
    return found


def applies_here(requirement: str) -> bool:
    """Whether a ``python_version >= 'x.y'`` marker, if there is one, fits the running Python."""
    marker = re.search(r"python_version\s*>=\s*['\"](\d+)\.(\d+)['\"]", requirement)
    return marker is None or sys.version_info[:2] >= (int(marker[1]), int(marker[2]))


def lava_line() -> str:
    """The environment of lava, which is not snnfer's own; how to build it where there is none."""
    from snnfer.converters.lava.environment import SETUP_COMMAND, VARIABLE, describe_lava
    from snnfer.errors import SnnferError

    label = "lava simulator"
    try:
        found = describe_lava()
    except SnnferError as error:
        return f"{label} {error}" if os.environ.get(VARIABLE) else f"{label} not built: {SETUP_COMMAND}"
    missing = [name for name, version in found.packages.items() if version is None]
    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in found.packages.items())
    fix = f": {SETUP_COMMAND}, or another {VARIABLE}" if missing else ""
    return f"{label} {found.python} (Python {found.version}, {versions}){fix}"


def device_lines() -> list[str]:
    """The devices torch can use."""
    import torch

    lines = [f"CPU      {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"]
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        lines.append(f"cuda:{i}   {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        lines.append("mps      Apple GPU")
    if len(lines) == 1:
        lines.append("GPU      none that torch can use")
    return lines


def kernel_lines() -> list[str]:
    """One line per kernel: which tensors take it by default, or that it cannot run, and why."""
    from snnfer.neurons.kernels import KERNELS, default_kernel, kernel_status

    defaults = {default_kernel(device): f"{device.upper()} tensors" for device in ("cpu", "cuda")}
    defaults["reference"] = "all other tensors" if len(defaults.keys() - {"reference"}) else "all tensors"
    lines = []
    for name in KERNELS:
        status = kernel_status(name)
        role = f"active, default for {defaults[name]}" if name in defaults else "not active"
        lines.append(f"kernel   {name:10} {role}: {status.reason}")
    return lines
