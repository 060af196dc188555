"""Files of weights that other projects saved: their tensors are read, and no code in them is run."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from snnfer.errors import CheckpointError

HARMLESS = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor_v2"),
}


def read_weights(path: str | Path) -> Any:
    """What `path` holds, on the CPU, with anything but tensors, numbers, texts and containers replaced by a stand-in.

    Checkpoints of POSTER++ hold objects of the authors' classes beside their tensors, which ``weights_only=True``
    refuses as a whole. Here these objects stay empty: their classes are neither imported nor called.

    Raises:
        CheckpointError: there is no such file, or it is no file of ``torch.save``.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no file at '{path}'", expected="weights that torch.save wrote", fix="check the path")
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_TensorsOnly)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"'{path}' cannot be read ({' '.join(str(error).split())[:120]})",
            expected="weights that torch.save wrote",
            cause="an incomplete download, or another kind of file",
        ) from error


class _StandIn:
    """Takes the place of an object of an unknown class, however it is built."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _TensorsOnlyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = (module, name) in HARMLESS or (
            module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        )
        return super().find_class(module, name) if known else _StandIn


class _TensorsOnly:
    """As much of the module `pickle` as ``torch.load`` uses."""

    Unpickler = _TensorsOnlyUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        return _TensorsOnlyUnpickler(file, **kwargs).load()
