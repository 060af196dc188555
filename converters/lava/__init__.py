"""Export to lava: netx files, their certificate, and their simulation by lava itself in an environment of its own."""

from snnfer.converters.lava.environment import build_lava_environment, find_lava_python
from snnfer.converters.lava.export import to_lava
from snnfer.converters.lava.netx import read_certificate, read_netx, validate_netx, write_netx
from snnfer.converters.lava.simulate import Comparison, LavaResult, compare, run_lava

__all__ = [
    "Comparison",
    "LavaResult",
    "build_lava_environment",
    "compare",
    "find_lava_python",
    "read_certificate",
    "read_netx",
    "run_lava",
    "to_lava",
    "validate_netx",
    "write_netx",
]
