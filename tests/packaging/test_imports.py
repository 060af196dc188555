"""What importing costs, and which floor may import which."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("lightning", "pytorch_lightning", "matplotlib", "pandas", "numba", "faery", "scipy", "sklearn", "h5py", "av")
CORE = ("errors", "layout", "events", "neurons", "representations", "metrics", "layers", "models")
CORE_IMPORT = ", ".join(f"snnfer.{name}" for name in CORE)

BLOCK = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@functools.cache
def top_level_modules_after(statement):
    return set(
        run(f"import json, sys; {statement}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))")
    )


def test_import_snnfer_loads_nothing_heavy():
    loaded = top_level_modules_after("import snnfer")
    assert not loaded & {"torch", "numpy", *HEAVY}


def test_making_a_model_loads_nothing_optional():
    before = top_level_modules_after("import torch")
    loaded = top_level_modules_after(f"import snnfer, {CORE_IMPORT}; snnfer.list_models()")
    assert not (loaded - before) & set(HEAVY)


def test_import_takes_less_than_two_seconds_beyond_torch():
    clock = "time.perf_counter()"
    assert run(f"import time, torch, numpy; start = {clock}; import {CORE_IMPORT}; print({clock} - start)") < 2


def test_the_core_needs_numpy_and_torch_only():
    blocked = {*HEAVY, "tqdm", "yaml", "jsonargparse", "torchmetrics", "safetensors", "torchvision", "spikingjelly"}
    blocked |= {"norse", "tonic", "onnx", "onnxruntime", "hdf5plugin", "PIL", "cv2", "pyarrow", "jinja2", "lz4"}
    available = top_level_modules_after("import torch")  # what torch itself takes along
    code = BLOCK.format(blocked=blocked - available) + f"import {CORE_IMPORT}; print(0)"
    assert run(code) == 0


def test_help_answers_without_torch():
    code = (
        "import json, sys\n"
        "from snnfer.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    assert not set(run(code)) & {"torch", "numpy", *HEAVY}


def test_every_public_name_loads():
    assert run("import snnfer; print(len([getattr(snnfer, name) for name in snnfer.__all__]))") > 10


def test_an_unknown_name_is_an_attribute_error():
    import snnfer

    with pytest.raises(AttributeError, match="no attribute 'nuerons'"):
        _ = snnfer.nuerons


def test_floors_import_only_lower_ones():
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed (extra 'dev')")
    result = subprocess.run([str(command), "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout
