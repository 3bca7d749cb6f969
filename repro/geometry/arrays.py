"""Numbers, sequences and networks of other people: taken as they come, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Array = TypeVar("Array", Tensor, np.ndarray)

NUMERIC = "biuf"  # NumPy's kinds: booleans, integers with and without sign, floating point


def as_array(values: object, name: str, finite: bool = True) -> np.ndarray:
    """Float64 NumPy array of what NumPy or torch can make real numbers of; float64 on the CPU is not copied.

    Args:
        values: tensor (of any device, with or without gradient), array (any strides, byte order or numeric type),
            table, list of these or of numbers, or object array of equal rows.
        name: of the argument, for the error.
        finite: whether infinite and NaN entries are refused.

    Returns:
        Array of the shape of the values, in their memory order. It may share their memory and be read-only.

    Raises:
        ValueError: naming the argument, for what is no rectangle of real numbers: ragged rows, strings, complex
            numbers, sparse or quantised tensors, masked entries; and for entries that are not finite.
    """
    if isinstance(values, Tensor):
        array = _dense(values, name).to("cpu", torch.float64).resolve_neg().numpy()
    else:
        array = _doubles(_numbers(values, name))
    return _finite(array, name) if finite else array


def as_tensor(values: object, name: str, dtype: torch.dtype | None = None) -> Tensor:
    """Detached tensor of what NumPy or torch can make real numbers of; arguments and errors as those of `as_array`.

    Args:
        values: as there; a tensor stays on its device, and is not copied.
        name: of the argument.
        dtype: float64, or None for the precision of the values.
    """
    if isinstance(values, Tensor):
        tensor = _dense(values, name)
    else:
        array = _numbers(values, name)
        if dtype is not None:
            array = _doubles(array)
        if array.dtype.itemsize > 8:
            raise ValueError(f"{name} is {array.dtype}, which torch does not have: convert it to float64")
        if not array.flags.writeable or min(array.strides, default=0) < 0:  # torch warns of the one, refuses the other
            array = array.copy(order="K")
        tensor = torch.as_tensor(array)
    return _finite(tensor if dtype is None else tensor.to(dtype), name)


def as_list(values: object, name: str, items: str) -> list[Any]:
    """The items of any iterable, which is gone through once.

    Args:
        values: list, tuple, array, generator, ...
        name: of the argument.
        items: what they are, in the plural, for the error.

    Raises:
        ValueError: naming the argument, for a single string, a mapping, or what cannot be gone through.
    """
    if isinstance(values, str | bytes):
        raise ValueError(
            f"{name} must be a sequence of {items}, got the single string {shown(values)}: put it into a list"
        )
    if isinstance(values, Mapping):
        raise ValueError(
            f"{name} must be a sequence of {items}, got {type(values).__name__}: give list({name}.values())"
        )
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:  # a tensor of no dimension is Iterable too
        raise ValueError(f"{name} must be a sequence of {items}, got {shown(values)}: put it into a list")
    return list(values)


def check_whole(value: object, name: str, highest: int | None = None, meaning: str = "") -> None:
    """Raise ValueError for what is not a whole number (Python's or NumPy's, no bool) from 1 to `highest`.

    Args:
        value: to be checked.
        name: of the argument.
        highest: largest value; None means any.
        meaning: of the highest, for the error.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 1 <= value <= (value if highest is None else highest):  # type: ignore[operator]
        limits = "of at least 1" if highest is None else f"from 1 to {meaning} = {highest}"
        raise ValueError(f"{name} must be a whole number {limits}, got {shown(value)}")


def check_network(network: object) -> None:
    """Raise ValueError for what is not a `torch.nn.Module` with weights, or is a scripted one, which has no hooks."""
    if not isinstance(network, nn.Module):
        raise ValueError(f"network must be a torch.nn.Module, got {shown(network)}")
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"module {name!r} of the network" if name else "network"
            raise ValueError(f"{where} is scripted and cannot be looked into: give the module that it was made of")
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(value):
            raise ValueError(f"{name!r} of the network is lazy, without a shape yet: call network(points) once before")


def kinds(tensors: Iterable[Tensor]) -> list[str]:
    """Precisions and devices of tensors, each once, for an error or a comparison."""
    return sorted({f"{tensor.dtype} on {tensor.device}" for tensor in tensors})


def shown(value: object) -> str:
    """A value in one short line, for an error."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def _dense(tensor: Tensor, name: str) -> Tensor:
    if tensor.is_nested or tensor.layout != torch.strided:
        raise ValueError(f"{name} is a {tensor.layout} tensor, expected a dense one: call to_dense()")
    if tensor.is_quantized:
        raise ValueError(f"{name} is a quantised tensor: call dequantize()")
    if tensor.is_meta:
        raise ValueError(f"{name} is a tensor on the meta device, which holds no numbers: move it to a real one")
    if tensor.is_complex():
        raise ValueError(_complex(name))
    return tensor.detach()


def _numbers(values: object, name: str) -> np.ndarray:
    """Array of numbers in the byte order of the processor, not a copy where it is one already."""
    rows = values if isinstance(values, list | tuple) else [values]
    if any(np.ma.is_masked(item) for item in rows):  # NumPy would drop the masks in silence
        raise ValueError(f"{name} holds masked entries: fill them with filled(), or leave their rows out")
    if any(isinstance(item, Tensor) for item in rows):
        values = [as_array(item, name, finite=False) for item in rows]
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim:
            array = _unpacked(array, name)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is not a rectangle of numbers: {shown(str(error))}") from error
    if array.dtype.kind == "c":
        raise ValueError(_complex(name))
    if array.dtype.kind not in NUMERIC:
        what = shown(values) if array.ndim == 0 else f"an array of {array.dtype}"
        raise ValueError(f"{name} must hold numbers, got {what}: convert it to an array of float64")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _unpacked(array: np.ndarray, name: str) -> np.ndarray:
    """What an object array holds: numbers of any type, or equal rows of them."""
    rows = [as_array(item, name, finite=False) if isinstance(item, Tensor) else item for item in array.ravel()]
    inner = np.array(rows)  # raises for ragged rows
    inner = inner.reshape(array.shape + inner.shape[1:])
    if inner.dtype == object and all(isinstance(item, Number) and not isinstance(item, complex) for item in inner.flat):
        return inner.astype(np.float64)  # fractions, decimals, whole numbers of any size
    return inner


def _doubles(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # of a longer type; the infinity is refused
        return np.asarray(array, dtype=np.float64)


def _finite(values: Array, name: str) -> Array:
    library: Any = torch if isinstance(values, Tensor) else np
    finite = library.isfinite(values)
    if not bool(finite.all()):
        place = tuple(library.argwhere(~finite)[0].tolist())
        raise ValueError(f"{name} holds non-finite entries, such as {float(values[place])} at {place}: leave them out")
    return values


def _complex(name: str) -> str:
    return f"{name} holds complex numbers, expected real ones: give its real and imaginary parts as columns"
