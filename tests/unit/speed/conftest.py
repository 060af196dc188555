"""The benchmarks lie beside the package and are imported from the root of the checkout."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)
