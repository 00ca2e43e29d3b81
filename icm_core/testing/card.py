"""A graphics card that is not there: tensors that say they are on it, and are computed on the CPU.

What is on the card and what is not is kept apart as PyTorch does it, so that a tensor on the wrong device is found on a
machine without a card. ``torch._subclasses.FakeTensorMode`` is near, but its tensors have no values, which entropy
coders, file formats and detectors need, and without a card it has no backward pass.

Devices are looked at where Python calls PyTorch. What PyTorch's own functions do inside is theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CARD = torch.device("cuda", 0)
"""What tensors on the card give for their device."""

Module = TypeVar("Module", bound=nn.Module)
_CPU = torch.device("cpu")

_SHAPES_ONLY = (Tensor.expand_as, Tensor.view_as, Tensor.reshape_as, Tensor.copy_)
"""Functions that take tensors of two devices."""

_NUMPY = (Tensor.numpy, Tensor.__array__)


class OnCard(Tensor):
    """A tensor that says it is on the card; its memory is the CPU's."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at the devices of all arguments, compute, and say where the results are."""
        del types
        return _called(func, tuple(args), dict(kwargs or {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A copy on the card, a parameter if this one is."""
        if id(self) not in memo:
            with torch.no_grad():
                copied = on_card(self.detach().clone()).requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                copied = nn.Parameter(copied, self.requires_grad)
            memo[id(self)] = copied
        found: Tensor = memo[id(self)]
        return found


class _Generator(torch.Generator):
    """A generator that knows where it was asked for."""

    place = _CPU

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls, "cpu")  # type: ignore[call-arg]  # its stub has only __init__
        made.place = _place(device)
        return made


class _Mode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return _called(func, tuple(args), dict(kwargs or {}))


@contextlib.contextmanager
def card() -> Iterator[None]:
    """As long as it lasts, ``"cuda"`` is a device on which tensors can be made."""
    with mock.patch("torch.Generator", _Generator), _Mode():
        yield


def on_card(tensor: Tensor) -> Tensor:
    """A tensor as it would be on the card; differentiable."""
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(OnCard)


def off_card(tensor: Tensor) -> Tensor:
    """A tensor as an ordinary one; differentiable."""
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(Tensor)


def to_card(module: Module) -> Module:
    """Move a module's parameters and buffers to the card, as ``.to("cuda")`` would."""
    moved: dict[int, Tensor] = {}
    for inner in module.modules():
        for name, parameter in inner._parameters.items():
            if parameter is not None:
                there = moved.get(id(parameter))
                if there is None:
                    there = moved[id(parameter)] = nn.Parameter(on_card(parameter.detach()), parameter.requires_grad)
                inner._parameters[name] = there  # type: ignore[assignment]
        for name, buffer in inner._buffers.items():
            if buffer is not None:
                inner._buffers[name] = moved.setdefault(id(buffer), on_card(buffer))
    return module


def _called(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function of PyTorch's gives."""
    first = args[0] if args else None
    if isinstance(first, OnCard):
        for name, value in (("device", CARD), ("is_cuda", True), ("is_cpu", False)):
            if func == getattr(Tensor, name).__get__:
                return value
        if func in _NUMPY:
            raise TypeError(f"can't convert {CARD} device type tensor to numpy. Use Tensor.cpu() first.")
    if func is Tensor.pin_memory:
        return first
    if func is Tensor.cuda:
        return on_card(first) if isinstance(first, Tensor) else first
    if func is torch._has_compatible_shallow_copy_type and _of(args[0]) != _of(args[1]):
        return False  # so that Module.to makes new parameters instead of changing what the old ones hold
    asked, args, kwargs = _asked(func, args, kwargs)
    given = list(_tensors((args, kwargs)))
    if asked is None:
        _check_places(func, args, given)
    place = asked or (CARD if any(isinstance(one, OnCard) for one in given) else _CPU)
    generator = kwargs.get("generator")
    if isinstance(generator, _Generator) and generator.place.type != place.type:
        raise RuntimeError(f"Expected a '{place.type}' device type for generator but found '{generator.place.type}'")
    with torch._C.DisableTorchFunctionSubclass():
        found = func(*args, **kwargs)
    return _placed(found, place, given, moved=asked is not None)


def _asked(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[torch.device | None, tuple[Any, ...], dict[str, Any]]:
    """Where the result is asked for, None if nothing says so; and the arguments as the CPU takes them."""
    if func is Tensor.cpu:
        return _CPU, args, kwargs
    if func is Tensor.type_as:
        return _of(args[1]), args, kwargs
    if func is Tensor.to and len(args) > 1:
        where = args[1]
        if isinstance(where, Tensor):
            return _of(where), args, kwargs
        if isinstance(where, (torch.device, str, int)) and _place(where).type != "meta":
            return _place(where), (args[0], _CPU, *args[2:]), kwargs
    device = kwargs.get("device")
    if device is not None and _place(device).type != "meta":
        return _place(device), args, {**kwargs, "device": _CPU}
    return None, args, kwargs


def _check_places(func: Any, args: tuple[Any, ...], given: list[Tensor]) -> None:
    """Refuse arguments on two devices where PyTorch does; single values from the CPU may go along with others."""
    if func in _SHAPES_ONLY:
        return
    if func is Tensor.__getitem__ and isinstance(args[0], OnCard):
        return  # indexes may come from the CPU
    if func is Tensor.__setitem__:
        indexes = list(_tensors(args[1]))
        if not indexes:
            return  # it is a copy
        given = [args[0], *_tensors(args[2])]
    theirs = [one for one in given if isinstance(one, OnCard)]
    others = [one for one in given if not isinstance(one, OnCard) and one.dim() > 0 and one.device.type == "cpu"]
    if theirs and others:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {CARD} and cpu! (in "
            f"{getattr(func, '__name__', func)}, to which a tensor of shape {tuple(others[0].shape)} came from the CPU)"
        )


def _placed(found: Any, place: torch.device, given: list[Tensor], *, moved: bool) -> Any:
    """The results where they belong; what was changed in place, or only handed on, stays the object that it is."""
    if isinstance(found, Tensor):
        if found.device.type == "meta" or isinstance(found, OnCard) == (place == CARD):
            return found
        if not moved and any(found is one for one in given):
            return found
        return on_card(found) if place == CARD else off_card(found)
    if isinstance(found, (list, tuple)):
        inner = [_placed(one, place, given, moved=moved) for one in found]
        return type(found)(*inner) if hasattr(found, "_fields") else type(found)(inner)
    return found


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _place(device: Any) -> torch.device:
    where = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return CARD if where.type == "cuda" else where


def _of(tensor: Tensor) -> torch.device:
    return CARD if isinstance(tensor, OnCard) else _CPU
