"""What the compiler may do to a kernel behind one's back is planted, and has to be seen."""

import math
from typing import Any

import pytest
from llvmlite import ir
from numba import cuda, float32, float64, njit, types
from numba.extending import intrinsic

from .compilation import Compiled, assembled, compiled

pytestmark = pytest.mark.ptx

CAPABILITIES = [(8, 0), (9, 0)]
ROW = types.Array(float32, 1, "C")
ROWS = (ROW, ROW)


@pytest.fixture(params=CAPABILITIES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
def cc(request: pytest.FixtureRequest) -> Any:
    return request.param


def scaled(factor: Any) -> Any:
    def kernel(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = x[i] * factor

    return kernel


def test_a_plain_kernel_is_clean(cc: Any) -> None:
    found = compiled(scaled(float32(0.5)), ROWS, cc)
    assert found.ptx.count(f".target sm_{cc[0]}{cc[1]}") == 1
    assert (found.spills, found.stack, found.shared) == (0, 0, 0)
    assert 0 < found.registers < 32
    assert found.instructions["ld.global.f32"] == found.instructions["st.global.f32"] == 1
    assert found.instructions["mul.f32"] + found.instructions["mul.rn.f32"] == 1
    assert found.instructions["ret"] == 1
    assert not found.having("f64")
    assert not found.having("ftz")


def test_float64_in_a_float32_kernel_is_seen(cc: Any) -> None:
    found = compiled(scaled(0.1), ROWS, cc)  # a literal of Python is a float64
    assert found.having("f64")


def test_spills_are_seen(cc: Any) -> None:
    @cuda.jit(max_registers=24)
    def kernel(x, y):
        i = cuda.grid(1)
        a, b, c, d, e, f = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5]
        g, h, j, k, m, n = x[i + 6], x[i + 7], x[i + 8], x[i + 9], x[i + 10], x[i + 11]
        cuda.syncthreads()
        y[i] = math.exp(a) + math.exp(b) * math.exp(c) + d * e * f
        cuda.syncthreads()
        y[i + 1] = a * b + c * d + e * f + g * h + j * k + m * n
        y[i + 2] = a / b + c / d + e / f + g / h + j / k + m / n

    doubles = types.Array(float64, 1, "C")
    found = compiled(kernel, (doubles, doubles), cc)
    assert found.spills > 0
    assert found.stack > 0
    assert found.registers <= 24
    assert compiled(kernel, (doubles, doubles), cc, max_registers=255).spills == 0


@pytest.mark.parametrize("how", ["dispatcher", "option"])
def test_fast_mathematics_is_seen(how: str, cc: Any) -> None:
    def kernel(x, y):
        y[0] = x[0] / x[1]

    assert not compiled(kernel, ROWS, cc).having("ftz")
    if how == "dispatcher":
        found = compiled(cuda.jit(fastmath=True)(kernel), ROWS, cc)
    else:
        found = compiled(kernel, ROWS, cc, fastmath=True)
    assert found.having("ftz")
    assert found.having("approx")


@intrinsic
def four(context: Any, x: Any, i: Any) -> Any:
    """The sum of four neighbours, in one load."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        lanes = ir.VectorType(ir.FloatType(), 4).as_pointer(1)  # 1 is device memory
        where = builder.gep(data, [arguments[1]])
        run = builder.load(builder.addrspacecast(where, lanes))
        run.align = 16
        found = [builder.extract_element(run, ir.IntType(32)(k)) for k in range(4)]
        total = found[0]
        for one in found[1:]:
            total = builder.fadd(total, one)
        return total

    return float32(x, i), build


def test_vector_loads_are_seen(cc: Any) -> None:
    def by_vector(x, y):
        y[0] = four(x, cuda.threadIdx.x)

    def by_number(x, y):
        i = cuda.threadIdx.x
        y[0] = x[i] + x[i + 1] + x[i + 2] + x[i + 3]

    assert compiled(by_vector, ROWS, cc).having("v4") == {"ld.global.v4.f32": 1}
    assert not compiled(by_number, ROWS, cc).having("v4")


def test_every_instruction_is_counted() -> None:
    written = """
    .visible .entry copy(.param .u64 x) {
        .reg .b64 %rd<4>; .reg .f32 %f<4>; .reg .pred %p<2>;
        ld.param.u64 %rd0, [x]; // not an instruction; nor this one
        @!%p1 st.global.v4.f32 [%rd1], {%f0, %f1, %f2, %f3};
    $L__BB0_1:
        call.uni (retval0),
        function,
        (
        param0
        );
        { ld.shared::cta.f32 %f0, [%rd0]; add.rn.f32 %f0, %f0, %f0; }
        ret;
    }
    """
    found = Compiled(written, registers=0, spills=0, stack=0, shared=0).instructions
    names = ["ld.param.u64", "st.global.v4.f32", "call.uni", "ld.shared::cta.f32", "add.rn.f32"]
    assert found == dict.fromkeys([*names, "ret"], 1)


def test_a_product_and_a_sum_are_contracted(cc: Any) -> None:
    """Even without fast mathematics: what must be rounded twice has to say so."""

    def kernel(x, y):
        y[0] = x[0] * x[1] + x[2]

    assert compiled(kernel, ROWS, cc).instructions["fma.rn.f32"] == 1


def test_shared_memory_is_counted(cc: Any) -> None:
    def kernel(x, y):
        held = cuda.shared.array(256, float32)
        i = cuda.threadIdx.x
        held[i] = x[i]
        cuda.syncthreads()
        y[i] = held[255 - i]

    found = compiled(kernel, ROWS, cc)
    assert found.shared == 4 * 256
    assert found.instructions["bar.sync"] == 1


@pytest.mark.parametrize("decorated", [cuda.jit(device=True), njit], ids=["cuda.jit", "njit"])
def test_device_functions_need_no_device(decorated: Any, cc: Any) -> None:
    @decorated
    def squared(x):
        return x * x

    def kernel(x, y):
        y[0] = squared(x[0])

    assert compiled(kernel, ROWS, cc).spills == 0


def test_launch_bounds_are_passed_on(cc: Any) -> None:
    kernel = cuda.jit(launch_bounds=1024)(scaled(float32(0.5)))
    assert ".maxntid 1024" in compiled(kernel, ROWS, cc).ptx


def test_what_does_not_assemble_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ptxas"):
        assembled("nothing", (9, 0))
