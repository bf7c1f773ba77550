"""Eight numbers of float32 at a time, for compiled loops whose sums must stay in registers.

The compiler makes vectors of loops by itself, but only along a row that it reads and writes again
for each term, and it looks first whether rows overlap; on rows of some 70 numbers that takes as
long as the work. What is here names the registers. It is compiled for any CPU: where vectors are
shorter, eight numbers are several of them.
"""

# ruff: noqa: ARG001 - numba tells arguments by their names
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_LANES: Final = 8
_FUSED: Final = ("contract",)
_VECTOR: Final = ir.VectorType(ir.FloatType(), _LANES)
#: Callers do not give the first argument, which is numba's own.
_compiled: Any = intrinsic

#: Bytes of a line of the cache.
_LINE: Final = 64
_BYTE: Final = ir.IntType(8)
_INT: Final = ir.IntType(32)
_FIRST: Final = ir.Constant(ir.VectorType(_INT, _LANES), [0] * _LANES)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(_Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


_lanes = _Lanes()


def _place(context, builder, kind, array, row, column):
    """A pointer to the eight numbers that begin at a place of a matrix."""
    matrix = context.make_array(kind)(context, builder, array)
    where = cgutils.get_item_pointer(
        context, builder, kind, matrix, [row, column], wraparound=False
    )
    return builder.bitcast(where, _VECTOR.as_pointer())


@_compiled
def load(typing, matrix, row, column):
    """The numbers ``matrix[row, column : column + 8]``, rows being contiguous."""

    def code(context, builder, signature, given):
        return builder.load(_place(context, builder, signature.args[0], *given), align=4)

    return _lanes(matrix, types.uintp, types.uintp), code


@_compiled
def store(typing, matrix, row, column, lanes):
    """Write them there."""

    def code(context, builder, signature, given):
        where = _place(context, builder, signature.args[0], *given[:3])
        builder.store(given[3], where, align=4)
        return context.get_dummy_value()

    return types.void(matrix, types.uintp, types.uintp, _lanes), code


@_compiled
def spread(typing, number):
    """A number eight times."""

    def code(context, builder, signature, given):
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), given[0], _INT(0))
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), _FIRST)

    return _lanes(types.float32), code


@_compiled
def times(typing, left, right):
    """The product of each two."""

    def code(context, builder, signature, given):
        return builder.fmul(*given)

    return _lanes(_lanes, _lanes), code


@_compiled
def plus(typing, lanes, left, right):
    """``lanes + left * right``, rounded once where the CPU can."""

    def code(context, builder, signature, given):
        product = builder.fmul(*given[1:], flags=_FUSED)
        return builder.fadd(given[0], product, flags=_FUSED)

    return _lanes(_lanes, _lanes, _lanes), code


@_compiled
def minus(typing, lanes, left, right):
    """``lanes - left * right``, as :func:`plus`."""

    def code(context, builder, signature, given):
        product = builder.fmul(*given[1:], flags=_FUSED)
        return builder.fsub(given[0], product, flags=_FUSED)

    return _lanes(_lanes, _lanes, _lanes), code


@_compiled
def where_more(typing, left, right, these, others):
    """Of each two of ``these`` and ``others`` the one where ``left > right``, else the other."""

    def code(context, builder, signature, given):
        return builder.select(builder.fcmp_ordered(">", *given[:2]), *given[2:])

    return _lanes(_lanes, _lanes, _lanes, _lanes), code


@_compiled
def any_more(typing, left, right):
    """Whether ``left > right`` for any two of them."""

    def code(context, builder, signature, given):
        bits = builder.bitcast(builder.fcmp_ordered(">", *given), ir.IntType(_LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(_lanes, _lanes), code


@_compiled
def turn(typing, a, b, c, d, e, f, g, h):
    """Eight lanes of eight: what was the ``n``-th number of each is the ``n``-th lanes."""

    def code(context, builder, signature, given):
        for apart in (4, 2, 1):
            turned = list(given)
            for n in (k for k in range(_LANES) if not k & apart):
                upper, lower = given[n], given[n + apart]
                for at, first in ((n, 0), (n + apart, apart)):
                    mask = [(k & apart and _LANES) + (k & ~apart) + first for k in range(_LANES)]
                    mask = ir.Constant(_FIRST.type, mask)
                    turned[at] = builder.shuffle_vector(upper, lower, mask)
            given = turned
        return context.make_tuple(builder, signature.return_type, given)

    return types.UniTuple(_lanes, _LANES)(*[_lanes] * _LANES), code


@_compiled
def fetch(typing, matrix, row):
    """Have a row of contiguous numbers brought into the cache; nothing waits for it."""

    def code(context, builder, signature, given):
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, given[0])
        size = context.get_constant(types.intp, _LINE // (kind.dtype.bitwidth // 8))
        width = cgutils.unpack_tuple(builder, array.shape)[1]
        kinds = [_BYTE.as_pointer(), _INT, _INT, _INT]
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [_BYTE.as_pointer()], ir.FunctionType(ir.VoidType(), kinds)
        )
        zero = context.get_constant(types.intp, 0)
        with cgutils.for_range_slice(builder, zero, width, size) as (column, _):
            where = cgutils.get_item_pointer(
                context, builder, kind, array, [given[1], column], wraparound=False
            )
            where = builder.bitcast(where, _BYTE.as_pointer())
            builder.call(prefetch, [where, _INT(0), _INT(2), _INT(1)])
        return context.get_dummy_value()

    return types.void(matrix, types.uintp), code
