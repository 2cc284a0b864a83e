"""Numbers between memory and registers: any format in, one kind of arithmetic, any format out.

A *run* is several neighbouring numbers of an array. Where the array is aligned a run is read and
written 16 bytes at a time, which scalar code never is. float16 and bfloat16 travel as the 16 bits
that they are; each number is rounded once, to nearest and ties to even.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refloss.formula.emitted import Kind
from refloss.kernels.cuda import target

GLOBAL = 1  # NVVM's address space of device memory
VECTOR = 16  # bytes that one instruction can move

SIZES = {
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "bool": 1,
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
}

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()


def stored_as(name: str) -> Any:
    """The NumPy dtype as which kernels see an array of a format."""
    return np.dtype({"float16": "uint16", "bfloat16": "uint16", "bool": "uint8"}.get(name, name))


def _to_number(builder: Any, bits: Any, name: str, kind: Kind) -> Any:
    """An integer of the format's size, holding its bits, as a number of the kind."""
    if name == "float16":
        x = builder.fpext(builder.bitcast(bits, ir.HalfType()), _FLOAT)
    elif name == "bfloat16":
        x = builder.bitcast(builder.shl(builder.zext(bits, _I32), _I32(16)), _FLOAT)
    elif name == "float32":
        x = builder.bitcast(bits, _FLOAT)
    elif name == "float64":
        x = builder.bitcast(bits, _DOUBLE)
    elif name == "bool" or name.startswith("uint"):
        return builder.uitofp(bits, kind.type)
    else:
        return builder.sitofp(bits, kind.type)
    if x.type == kind.type:
        return x
    return builder.fpext(x, _DOUBLE) if kind.digits == 53 else builder.fptrunc(x, _FLOAT)


def _from_number(builder: Any, x: Any, name: str, kind: Kind) -> Any:
    """The bits of a number, rounded once to a format of floating point."""
    if name == "float64":
        wide = x if kind.digits == 53 else builder.fpext(x, _DOUBLE)
        return builder.bitcast(wide, _I64)
    if name == "float32":
        narrow = builder.fptrunc(x, _FLOAT) if kind.digits == 53 else x
        return builder.bitcast(narrow, _I32)
    if name == "float16":
        return builder.bitcast(builder.fptrunc(x, ir.HalfType()), _I16)
    return _to_bfloat16(builder, x, kind)


def _size(builder: Any, x: Any) -> Any:
    """A double without its sign."""
    bits = builder.and_(builder.bitcast(x, _I64), _I64((1 << 63) - 1))
    return builder.bitcast(bits, _DOUBLE)


def _to_bfloat16(builder: Any, x: Any, kind: Kind) -> Any:
    single = x
    bits = None
    if kind.digits == 53:
        # by way of float32, rounded to odd: the second rounding then sees that there was a first
        single = builder.fptrunc(x, _FLOAT)
        back = builder.fpext(single, _DOUBLE)
        bits = builder.bitcast(single, _I32)
        inexact = builder.fcmp_ordered("!=", back, x)
        even = builder.icmp_unsigned("==", builder.and_(bits, _I32(1)), _I32(0))
        beyond = builder.fcmp_ordered(">", _size(builder, back), _size(builder, x))
        step = builder.select(beyond, _I32(-1), _I32(1))
        odd = builder.add(bits, step)
        bits = builder.select(builder.and_(inexact, even), odd, bits)
    else:
        bits = builder.bitcast(single, _I32)
    last = builder.and_(builder.lshr(bits, _I32(16)), _I32(1))
    nearest = builder.add(bits, builder.add(last, _I32(0x7FFF)))
    nan = builder.fcmp_unordered("uno", single, single)
    quiet = builder.or_(bits, _I32(0x400000))
    nearest = builder.select(nan, quiet, nearest)
    return builder.trunc(builder.lshr(nearest, _I32(16)), _I16)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, piece: Any) -> Any:
    """Where the piece that begins at an array's element lies in device memory."""
    data = context.make_array(kind)(context, builder, array).data
    where = builder.gep(data, [index])
    as_piece = builder.bitcast(where, piece.as_pointer())
    return builder.addrspacecast(as_piece, piece.as_pointer(GLOBAL))


def _pieces(name: str, lanes: int) -> tuple[int, int]:
    """How many numbers go into one instruction, and how many bytes they are."""
    size = SIZES[name]
    bytes_ = min(VECTOR, size * lanes)
    return bytes_ // size, bytes_


def _aligned(instruction: Any, bytes_: int) -> Any:
    instruction.align = bytes_
    return instruction


def load(names: Sequence[str], indices: Sequence[int | None], lanes: int, kind: Kind) -> Any:
    """(arrays, i, j) -> for each array in turn, its numbers i, ..., i + lanes - 1.

    ``indices`` says for each array whether i counts (0) or j (1); an array for which neither does
    (None) holds one number, which stands for all.
    """
    if target.SIMULATED:
        scalar = target.scalar_type(kind)

        def read(arrays: Any, i: int, j: int) -> Any:
            return tuple(
                scalar(array[0 if index is None else (i, j)[index] + k])
                for array, index in zip(arrays, indices, strict=True)
                for k in range(lanes)
            )

        return read

    @intrinsic
    def read_all(context: Any, arrays: Any, i: Any, j: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            numbers = []
            for position, (name, index) in enumerate(zip(names, indices, strict=True)):
                array = builder.extract_value(arguments[0], position)
                place = (context, builder, signature.args[0][position], array)
                if index is None:
                    numbers += _read(place, _I64(0), name, 1, kind) * lanes
                else:
                    numbers += _read(place, arguments[1 + index], name, lanes, kind)
            return context.make_tuple(builder, signature.return_type, numbers)

        found = target.tuple_of(kind, lanes * len(names))
        return found(arrays, types.int64, types.int64), build

    return read_all


def _read(place: Any, index: Any, name: str, lanes: int, kind: Kind) -> list[Any]:
    context, builder, array_type, array = place
    held, bytes_ = _pieces(name, lanes)
    of_one = ir.IntType(8 * SIZES[name])
    numbers = []
    for start in range(0, lanes, held):
        at = builder.add(index, _I64(start))
        words = max(1, bytes_ // 4)
        piece = ir.VectorType(_I32, words) if bytes_ >= 8 else ir.IntType(8 * bytes_)
        pointer = _pointer(context, builder, array_type, array, at, piece)
        raw = _aligned(builder.load(pointer), bytes_)
        bits = _split(builder, raw, of_one, held)
        numbers += [_to_number(builder, one, name, kind) for one in bits]
    return numbers


def _split(builder: Any, raw: Any, of_one: Any, held: int) -> list[Any]:
    """The integers of one number each that lie side by side in what was loaded."""
    if held == 1:
        return [builder.bitcast(raw, of_one)]
    if of_one.width >= 32 or not isinstance(raw.type, ir.VectorType):
        whole = builder.bitcast(raw, ir.VectorType(of_one, held))
        return [builder.extract_element(whole, _I32(k)) for k in range(held)]
    # by shifts: from a vector of short numbers NVVM would make narrower loads
    words = [builder.extract_element(raw, _I32(k)) for k in range(raw.type.count)]
    shifts = range(0, 32, of_one.width)
    return [builder.trunc(builder.lshr(word, _I32(k)), of_one) for word in words for k in shifts]


def _packed(builder: Any, bits: Sequence[Any]) -> Any:
    """Integers of one number each, side by side as they are stored."""
    of_one, held = bits[0].type, len(bits)
    total = of_one.width * held
    if of_one.width < 32 and total >= 64:
        words = ir.Constant(ir.VectorType(_I32, total // 32), ir.Undefined)
        in_word = 32 // of_one.width
        for word in range(total // 32):
            joined = _I32(0)
            for k, one in enumerate(bits[word * in_word : (word + 1) * in_word]):
                moved = builder.shl(builder.zext(one, _I32), _I32(k * of_one.width))
                joined = builder.or_(joined, moved)
            words = builder.insert_element(words, joined, _I32(word))
        return words
    if held == 1:
        return bits[0]
    parts = ir.Constant(ir.VectorType(of_one, held), ir.Undefined)
    for k, one in enumerate(bits):
        parts = builder.insert_element(parts, one, _I32(k))
    return parts


def store(names: Sequence[str], lanes: int, kind: Kind) -> Any:
    """(arrays, i, numbers) -> each array's numbers i, ..., i + lanes - 1 are written."""
    if target.SIMULATED:

        def write(arrays: Any, i: int, numbers: Any) -> None:
            for position, (array, name) in enumerate(zip(arrays, names, strict=False)):
                for k in range(lanes):
                    array[i + k] = _rounded(numbers[position * lanes + k], name, array.dtype)

        return write

    @intrinsic
    def write_all(context: Any, arrays: Any, i: Any, numbers: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            for position, name in enumerate(names):
                array = builder.extract_value(arguments[0], position)
                own = range(position * lanes, (position + 1) * lanes)
                values = [builder.extract_value(arguments[2], k) for k in own]
                place = (context, builder, signature.args[0][position], array)
                _write(place, arguments[1], values, name, kind)
            return context.get_dummy_value()

        return types.void(arrays, types.int64, numbers), build

    return write_all


def _write(place: Any, index: Any, values: Sequence[Any], name: str, kind: Kind) -> None:
    context, builder, array_type, array = place
    lanes = len(values)
    held, bytes_ = _pieces(name, lanes)
    for start in range(0, lanes, held):
        bits = [_from_number(builder, x, name, kind) for x in values[start : start + held]]
        at = builder.add(index, _I64(start))
        raw = _packed(builder, bits)
        pointer = _pointer(context, builder, array_type, array, at, raw.type)
        _aligned(builder.store(raw, pointer), bytes_)


def _rounded(x: Any, name: str, dtype: Any) -> Any:
    """A NumPy scalar in a format, rounded once: what `_from_number` writes."""
    if name != "bfloat16":
        with np.errstate(all="ignore"):
            return dtype.type(x)
    with np.errstate(all="ignore"):
        single = np.float32(x)
        back = np.float64(single)
    bits = int(single.view(np.uint32))
    if np.isfinite(x) and back != x and bits & 1 == 0:
        bits += -1 if abs(back) > abs(x) else 1
    return np.uint32(bits).view(np.float32).astype(dtype)
