"""The forward pass of a module without counterpart, traced with torch.fx: its children and the functions between."""

import operator
from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.fx.proxy import TraceError

from snnfer.converters._chain import Chain
from snnfer.converters._torch_modules import add_activation, add_adaptive_pool, add_flatten, add_pool
from snnfer.errors import ConversionError

ReadModule = Callable[[Chain, str, nn.Module], None]


class _Tracer(fx.Tracer):
    """Traces one forward pass; what it calls is not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def read_forward(chain: Chain, name: str, module: nn.Module, read_module: ReadModule) -> None:
    """Append what the forward pass of `module` does, step by step.

    Raises:
        ConversionError: it cannot be traced, is no chain, or calls a function that is not known.
    """
    graph = _trace(name, module)
    nodes = [node for node in graph.nodes if not _is_shape(node)]
    _check_chain(name, module, nodes)
    for node in nodes:
        label = f"{name}.{node.name}" if name else node.name
        if node.op == "call_module":
            child = f"{name}.{node.target}" if name else str(node.target)
            read_module(chain, chain.free_name(child), module.get_submodule(str(node.target)))
        elif node.op in ("call_function", "call_method"):
            _add_call(chain, chain.free_name(label), node)


def called_modules(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and modules that the forward pass of `module` calls, in order; a function flatten becomes a module.

    Raises:
        ConversionError: it cannot be traced, is no chain, or calls another function.
    """
    nodes = [node for node in _trace(name, module).nodes if not _is_shape(node)]
    _check_chain(name, module, nodes)
    called: list[tuple[str, nn.Module]] = []
    for node in nodes:
        if node.op == "call_module":
            called.append((str(node.target), module.get_submodule(str(node.target))))
        elif node.op in ("call_function", "call_method"):
            if getattr(node.target, "__name__", node.target) != "flatten":
                raise ConversionError(
                    f"'{_title(node, name)}' calls {getattr(node.target, '__name__', node.target)}",
                    expected="modules, and flatten",
                    fix="convert the part of the network that is a chain of modules",
                )
            given = {key: value for key, value in node.kwargs.items() if key != "input"}
            called.append((node.name, _flatten_module(*node.args[1:], **given)))
    return called


def _flatten_module(start_dim: Any = 0, end_dim: Any = -1) -> nn.Flatten:
    return nn.Flatten(start_dim, end_dim)


def _trace(name: str, module: nn.Module) -> fx.Graph:
    was_training, module.training = module.training, False
    try:
        return _Tracer().trace(module)
    except Exception as error:  # whatever the forward pass of a stranger raises on a symbolic input
        decides = isinstance(error, TraceError)
        detail = "it decides or checks by its values or shapes" if decides else " ".join(str(error).split())[:160]
        raise ConversionError(
            f"the forward pass of '{name or type(module).__name__}' ({type(module).__name__}) cannot be traced",
            expected="a chain of layers and functions without branches on values or shapes",
            cause=detail,
            fix="build it with torch.nn.Sequential, or convert the part that is a chain",
        ) from error
    finally:
        module.training = was_training


def _is_shape(node: fx.Node) -> bool:
    """Whether a node gives a shape or a number of one."""
    if node.op == "call_method" and node.target in ("size", "dim"):
        return True
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    inputs = node.all_input_nodes
    return node.target is operator.getitem and bool(inputs) and _is_shape(inputs[0])


def _check_chain(name: str, module: nn.Module, nodes: list[fx.Node]) -> None:
    current: fx.Node | None = None
    for node in nodes:
        if node.op == "placeholder":
            if current is None:
                current = node
                continue
            if not node.users:
                continue
        inputs = [other for other in node.all_input_nodes if not _is_shape(other)]
        if node.op in ("placeholder", "get_attr") or inputs != [current] or _has_more(node):
            raise ConversionError(
                f"'{_title(node, name)}' in the forward pass of {type(module).__name__} does not read the layer "
                "before it alone",
                expected="a chain, in which each operation reads the one before it",
                cause="a second input, a branch, a shortcut or a parameter used directly",
                fix="convert the part of the network that is a chain",
            )
        current = node


def _has_more(node: fx.Node) -> bool:
    """Whether a module is called with more than its input, or more than one value is returned."""
    if node.op == "call_module":
        return len(node.args) + len(node.kwargs) > 1
    return node.op == "output" and not isinstance(node.args[0], fx.Node)


def _title(node: fx.Node, name: str) -> str:
    return f"{name}.{node.name}" if name else node.name


def _add_call(chain: Chain, name: str, node: fx.Node) -> None:
    function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    add = FUNCTIONS.get(str(function).strip("_"))
    if add is None:
        raise ConversionError(
            f"'{name}' calls {function}",
            expected="functions that a graph knows: " + ", ".join(sorted(FUNCTIONS)),
            fix="replace it, or take it out of the part that is converted",
        )
    add(chain, name, *node.args[1:], **{key: value for key, value in node.kwargs.items() if key != "input"})


def _leaky(chain: Chain, name: str, negative_slope: float = 0.01, inplace: bool = False) -> None:
    add_activation(chain, name, negative_slope)


def _relu(chain: Chain, name: str, inplace: bool = False) -> None:
    add_activation(chain, name, 0.0)


def _max_pool(
    chain: Chain, name: str, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **rest: Any
) -> None:
    add_pool(chain, name, "max", kernel_size, stride, padding, dilation=dilation, **rest)


def _average_pool(
    chain: Chain,
    name: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    **rest: Any,
) -> None:
    rest.pop("count_include_pad", None)
    add_pool(chain, name, "average", kernel_size, stride, padding, ceil_mode=ceil_mode, **rest)


def _mean(chain: Chain, name: str, dim: Any = None, keepdim: bool = False) -> None:
    n_dims = (2 if chain.with_time else 1) + len(chain.shape)
    dims = sorted(d % n_dims for d in dim) if isinstance(dim, list | tuple) else []
    if len(chain.shape) != 3 or dims != [n_dims - 2, n_dims - 1]:
        raise ConversionError(f"'{name}' is a mean over {dim}", expected="a mean over height and width")
    add_adaptive_pool(chain, name, "average", 1)
    if not keepdim:
        add_flatten(chain, chain.free_name(f"{name}.flatten"), n_dims - 3, -1)


def _flatten(chain: Chain, name: str, start_dim: int = 0, end_dim: int = -1) -> None:
    add_flatten(chain, name, start_dim, end_dim)


def _view(chain: Chain, name: str, *shape: Any) -> None:
    sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else list(shape)
    leading = 2 if chain.with_time else 1
    size = 1
    for extent in chain.shape:
        size *= extent
    if len(sizes) != leading + 1 or sizes[-1] not in (-1, size):
        raise ConversionError(f"'{name}' reshapes to {sizes}", expected="a flattening, such as x.flatten(1)")
    add_flatten(chain, name, leading, -1)


def _dropout(chain: Chain, name: str, p: float = 0.5, training: bool = True, inplace: bool = False) -> None:
    if training and p:
        raise ConversionError(
            f"'{name}' drops values in evaluation mode too", cause="F.dropout without training=self.training",
            fix="pass training=self.training, or use torch.nn.Dropout",
        )  # fmt: skip


def _nothing(chain: Chain, name: str, *args: Any, **kwargs: Any) -> None:
    """A function that does not change values."""


FUNCTIONS: dict[str, Callable[..., None]] = {
    "relu": _relu,
    "leaky_relu": _leaky,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    "max_pool2d": _max_pool,
    "avg_pool2d": _average_pool,
    "adaptive_avg_pool2d": lambda chain, name, size: add_adaptive_pool(chain, name, "average", size),
    "adaptive_max_pool2d": lambda chain, name, size, **_: add_adaptive_pool(chain, name, "max", size),
    "mean": _mean,
    "dropout": _dropout,
    "contiguous": _nothing,
}
