"""A copy of a module as it is used: in eval mode, in float64, and out of its wrappers."""

import copy

import torch
from torch import Tensor, nn

from ltl_core.errors import NetworkError


def prepared(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a copy of a module without wrappers, in eval mode, on the CPU, with these numbers.

    Raises NetworkError if it is no module that can be followed.
    """
    copied = without_wrappers(module)
    return copied.to("cpu", dtype).eval().requires_grad_(requires_grad=False)


def without_wrappers(module: nn.Module) -> nn.Module:
    """Return a copy of a module out of DataParallel and torch.compile, as are its children.

    Raises NetworkError if it is no module that can be followed.
    """
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"A {type(module).__name__} is no torch module: give an nn.Module with its weights."
        )
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise NetworkError(
            "The module is TorchScript, whose forward cannot be followed: give the module that "
            "was scripted or traced."
        )
    try:
        copied = copy.deepcopy(module, _computed_tensors(module))
    except (RuntimeError, TypeError) as error:
        raise NetworkError(f"The module cannot be copied: {error}.") from error
    for part in copied.modules():
        for name, child in part.named_children():
            setattr(part, name, unwrapped(child))
    return copied


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of DataParallel and torch.compile."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _computed_tensors(module: nn.Module) -> dict[int, object]:
    """Return copies of tensors that hooks compute, which deepcopy refuses: weight norm has some."""
    return {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
