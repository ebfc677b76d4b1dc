"""Tables of the torch modules and functions that are read, each with the function that reads it."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ltl_core.interop import activations, arithmetic, pooling, shaping, weighted
from ltl_core.interop.calls import Call
from ltl_core.interop.signals import Value

ReadModule = Callable[[Call, Any], Value]
ReadFunction = Callable[..., Value]


def module_reader(module: nn.Module) -> ReadModule | None:
    """Return the function that reads a module, or None."""
    if type(module).__name__ == "Normalize":
        return weighted.normalize_module
    return next((read for kinds, read in _MODULES.items() if isinstance(module, kinds)), None)


def function_reader(target: Any) -> ReadFunction | None:
    """Return the function that reads a function or method, or None."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return _BY_NAME.get(name.strip("_"))


def read_swapped(kind: str) -> ReadFunction | None:
    """Return the function that reads an operation whose first operand is a constant, or None."""
    return {
        "add": arithmetic.add,
        "mul": arithmetic.multiply,
        "multiply": arithmetic.multiply,
        "sub": arithmetic.subtract_from,
        "subtract": arithmetic.subtract_from,
    }.get(kind)


def _plain(read: ReadFunction) -> ReadModule:
    """Return a reader of modules without settings."""
    return lambda call, _module: read(call)


_MODULES: dict[Any, ReadModule] = {
    (nn.Conv2d, nn.Conv1d): weighted.convolution_module,
    nn.Linear: lambda call, module: weighted.linear(call, module.weight, module.bias),
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm): weighted.batch_norm,
    (nn.AvgPool2d, nn.AvgPool1d): pooling.average_pool_module,
    (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d): lambda call, _: pooling.adaptive_pool(call),
    nn.ReLU: _plain(activations.relu),
    nn.Hardtanh: activations.hardtanh_module,  # ReLU6 is one
    nn.Threshold: activations.threshold_module,
    (nn.Softmax, nn.LogSoftmax): activations.softmax_module,
    (nn.Sigmoid, nn.LogSigmoid): _plain(activations.score),
    (nn.Flatten, nn.Unflatten): _plain(shaping.viewed),
    (nn.ZeroPad2d, nn.ZeroPad1d, nn.ConstantPad2d, nn.ConstantPad1d): shaping.padded_by_module,
    (
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.AlphaDropout,
        nn.FeatureAlphaDropout,
        nn.Identity,
    ): (_plain(shaping.unchanged)),
}
# Functions of torch, of torch.nn.functional, operators and methods, without the underscores around
# their names: one that works in place reads the same.
_BY_NAME: dict[str, ReadFunction] = {
    "conv1d": weighted.convolution,
    "conv2d": weighted.convolution,
    "linear": weighted.linear,
    "matmul": weighted.product,
    "mm": weighted.product,
    "batch_norm": weighted.batch_norm_function,
    "avg_pool1d": pooling.average_pool,
    "avg_pool2d": pooling.average_pool,
    "adaptive_avg_pool1d": pooling.adaptive_pool,
    "adaptive_avg_pool2d": pooling.adaptive_pool,
    "mean": pooling.mean,
    "relu": activations.relu,
    "relu6": activations.relu6,
    "hardtanh": activations.hardtanh,
    "clamp": activations.clamp,
    "clip": activations.clamp,
    "clamp_min": activations.clamp_min,
    "clamp_max": activations.clamp_max,
    "threshold": activations.threshold,
    "softmax": activations.softmax,
    "log_softmax": activations.softmax,
    "sigmoid": activations.score,
    "logsigmoid": activations.score,
    "add": arithmetic.add,
    "iadd": arithmetic.add,
    "sub": arithmetic.subtract,
    "subtract": arithmetic.subtract,
    "isub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "multiply": arithmetic.multiply,
    "imul": arithmetic.multiply,
    "div": arithmetic.divide,
    "divide": arithmetic.divide,
    "truediv": arithmetic.divide,
    "itruediv": arithmetic.divide,
    "true_divide": arithmetic.divide,
    "rsub": arithmetic.subtract_from,
    "neg": arithmetic.negative,
    "view": shaping.viewed,
    "view_as": shaping.viewed,
    "reshape": shaping.viewed,
    "flatten": shaping.viewed,
    "unflatten": shaping.viewed,
    "squeeze": shaping.viewed,
    "unsqueeze": shaping.viewed,
    "permute": shaping.moved,
    "transpose": shaping.moved,
    "swapaxes": shaping.moved,
    "movedim": shaping.moved,
    "flip": shaping.moved,
    "roll": shaping.moved,
    "cat": shaping.concatenated,
    "concat": shaping.concatenated,
    "concatenate": shaping.concatenated,
    "chunk": shaping.parts,
    "split": shaping.parts,
    "pad": shaping.padded,
    "getitem": shaping.item,
    "dropout": shaping.dropout,
    "dropout1d": shaping.dropout,
    "dropout2d": shaping.dropout,
    "alpha_dropout": shaping.dropout,
    "contiguous": shaping.unchanged,
    "clone": shaping.unchanged,
    "detach": shaping.unchanged,
    "float": shaping.unchanged,
    "double": shaping.unchanged,
    "to": shaping.unchanged,
    "type_as": shaping.unchanged,
    "type": shaping.unchanged,
    "cpu": shaping.unchanged,
    "requires_grad": shaping.unchanged,
}
