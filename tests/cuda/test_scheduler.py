"""What the scheduler claims to find is planted, beside right kernels that it has to pass."""

import math
from typing import Any

import numpy as np
import pytest
from numba import cuda, float32, float64, int32

from .memory import RaceError
from .scheduler import ORDERS, DivergenceError, simulated, under_every_order

pytestmark = pytest.mark.sim

THREADS = 64
EVERY_LANE = 0xFFFFFFFF
LOWER_HALF = 0x0000FFFF


def launched(
    kernel: Any, *arrays: Any, grid: Any = 1, block: Any = THREADS, shared: int = 0
) -> Any:
    """What a kernel leaves in its last array."""
    arrays = tuple(one.copy() for one in arrays)
    kernel[grid, block, 0, shared](*arrays)
    return arrays[-1]


def everywhere(kernel: Any, *arrays: Any, races: bool = True, **configuration: Any) -> Any:
    """The same in every order, which has to be the same bits."""
    return under_every_order(lambda: launched(kernel, *arrays, **configuration), races=races)


def numbers(count: int = THREADS) -> Any:
    return np.arange(count, dtype=np.float64) + 1


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> Any:
    with simulated(request.param):
        yield request.param


# --- races: each kernel that lacks something, and its right twin --------------------------------


def reversed_by_shared_memory(barrier: bool) -> Any:
    @cuda.jit
    def kernel(x, y):
        held = cuda.shared.array(THREADS, float64)
        i = cuda.threadIdx.x
        held[i] = x[i]
        if barrier:
            cuda.syncthreads()
        y[i] = held[THREADS - 1 - i]

    return kernel


def summed_twice_in_one_buffer(barrier: bool) -> Any:
    @cuda.jit
    def kernel(x, y):
        held = cuda.shared.array(THREADS, float64)
        i = cuda.threadIdx.x
        total = 0.0
        for repeat in range(2):
            held[i] = x[i] * (repeat + 1)
            cuda.syncthreads()
            for j in range(THREADS):
                total += held[j]
            if barrier:  # whoever still reads must be done before the next write
                cuda.syncthreads()
        y[i] = total

    return kernel


def counted_in_global_memory(atomic: bool) -> Any:
    @cuda.jit
    def kernel(x, y):
        i = cuda.threadIdx.x
        before = y[0] if not atomic else 0.0
        cuda.syncwarp()  # the compiler may load long before it stores
        if atomic:
            cuda.atomic.add(y, 0, x[i])
        else:
            y[0] = before + x[i]

    return kernel


def exchanged_between_lanes_of_a_warp(barrier: bool) -> Any:
    @cuda.jit
    def kernel(x, y):
        held = cuda.shared.array(THREADS, float64)
        i = cuda.threadIdx.x
        held[i] = x[i]
        if barrier:
            cuda.syncwarp()
        else:
            cuda.shfl_xor_sync(EVERY_LANE, 0, 1)  # brings lanes together, but orders no memory
        y[i] = held[i ^ 1]

    return kernel


def passed_between_blocks(right: bool) -> Any:
    @cuda.jit
    def kernel(x, y):
        block = cuda.blockIdx.x
        y[block] = x[block]
        if not right and block > 0:
            y[block] += y[block - 1]

    return kernel


RACES = {
    "read before write": (reversed_by_shared_memory, {}),
    "write after read": (summed_twice_in_one_buffer, {}),
    "read, modify, write": (counted_in_global_memory, {}),
    "between blocks": (passed_between_blocks, {"grid": 4, "block": 1}),
}


@pytest.mark.parametrize("name", RACES)
def test_a_race_is_seen_in_every_order(name: str, order: Any) -> None:
    make, configuration = RACES[name]
    with pytest.raises(RaceError, match=r"thread \(\d+, 0, 0\) of block .* nothing orders the two"):
        launched(make(False), numbers(), np.zeros(THREADS), **configuration)


@pytest.mark.parametrize("name", RACES)
def test_a_race_gives_other_bits_in_another_order(name: str) -> None:
    make, configuration = RACES[name]
    with pytest.raises(AssertionError, match="in the order"):
        everywhere(make(False), numbers(), np.zeros(THREADS), races=False, **configuration)


@pytest.mark.parametrize("name", RACES)
def test_its_right_twin_passes(name: str) -> None:
    make, configuration = RACES[name]
    everywhere(make(True), numbers(), np.zeros(THREADS), **configuration)


def test_a_shuffle_orders_no_memory() -> None:
    x, y = numbers(), np.zeros(THREADS)
    swapped = everywhere(exchanged_between_lanes_of_a_warp(True), x, y)
    assert swapped.tolist() == x.reshape(-1, 2)[:, ::-1].ravel().tolist()
    with simulated(), pytest.raises(RaceError, match="shared array"):
        launched(exchanged_between_lanes_of_a_warp(False), x, y)


def test_syncwarp_orders_only_whom_it_names() -> None:
    @cuda.jit
    def kernel(x, y):
        held = cuda.shared.array(32, float64)
        i = cuda.threadIdx.x
        held[i] = x[i]
        cuda.syncwarp(LOWER_HALF if i < 16 else EVERY_LANE ^ LOWER_HALF)
        y[i] = held[i ^ partner]

    for partner in (1, 16):
        with simulated():
            if partner == 1:
                launched(kernel, numbers(), np.zeros(32), block=32)
            else:
                with pytest.raises(RaceError):
                    launched(kernel, numbers(), np.zeros(32), block=32)


def test_a_sum_by_atomics_is_no_race_but_depends_on_the_order() -> None:
    x = (1 / numbers()).astype(np.float32)
    with pytest.raises(AssertionError, match="in the order"):
        everywhere(counted_in_global_memory(True), x, np.zeros(1, np.float32))


def test_a_flag_that_several_raise_is_no_race() -> None:
    @cuda.jit
    def kernel(x, flag):
        if x[cuda.threadIdx.x] > 10:
            flag[0] = 1

    assert everywhere(kernel, numbers(), np.zeros(1, np.int32)) == 1


def test_an_atomic_beside_a_plain_read_is_a_race(order: Any) -> None:
    @cuda.jit
    def kernel(y):
        if cuda.threadIdx.x == 0:
            cuda.atomic.add(y, 0, 1.0)
        else:
            y[cuda.threadIdx.x] = y[0]

    with pytest.raises(RaceError, match="argument 0"):
        launched(kernel, np.zeros(THREADS))


# --- lanes that have to meet ---------------------------------------------------------------------


@cuda.jit
def barrier_for_half(y):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    y[cuda.threadIdx.x] = 1


@cuda.jit
def two_barriers(y):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    else:
        cuda.syncthreads()
    y[cuda.threadIdx.x] = 1


@cuda.jit
def shuffle_for_half(y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(EVERY_LANE, i, 1)


@cuda.jit
def shuffle_against_barrier(y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(EVERY_LANE, i, 1)
    cuda.syncthreads()


@cuda.jit
def two_shuffles(y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(EVERY_LANE, i, 1)
    else:
        y[i] = cuda.shfl_xor_sync(EVERY_LANE, i, 1)


@cuda.jit
def shuffle_from_outside(y):
    i = cuda.threadIdx.x
    if i % 32 < 16:
        y[i] = cuda.shfl_sync(LOWER_HALF, i, 20)


@cuda.jit
def not_in_its_own_mask(y):
    y[cuda.threadIdx.x] = cuda.any_sync(LOWER_HALF, True)


@cuda.jit
def uneven_loop(y):
    i = cuda.threadIdx.x
    for _ in range(i % 32 // 31 + 1):
        y[i] = cuda.shfl_down_sync(EVERY_LANE, y[i], 1)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (barrier_for_half, r"waits in syncthreads \(test_scheduler.py:\d+\), but .* has exited"),
        (two_barriers, r"waits in syncthreads .* but .* waits in syncthreads"),
        (shuffle_for_half, r"waits in shfl_xor_sync of mask 0xffffffff .*, but .* has exited"),
        (shuffle_against_barrier, r"waits in shfl_xor_sync .*, but .* waits in syncthreads"),
        (two_shuffles, r"waits in shfl_xor_sync .* but .* waits in shfl_xor_sync"),
        (shuffle_from_outside, r"reads by shfl_sync from lane 20"),
        (not_in_its_own_mask, r"thread .* is not in the mask 0x0000ffff of its own any_sync"),
        (uneven_loop, r"waits in shfl_down_sync .* but .* has exited"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_divergence_is_refused_in_every_order(kernel: Any, message: str, order: Any) -> None:
    with pytest.raises(DivergenceError, match=message):
        launched(kernel, np.zeros(THREADS))


def test_groups_that_meet_apart_and_then_together_pass() -> None:
    @cuda.jit
    def kernel(x, y):
        i = cuda.threadIdx.x
        mine = cuda.shfl_xor_sync(LOWER_HALF, x[i], 8) if i % 32 < 16 else x[i]
        y[i] = cuda.shfl_xor_sync(EVERY_LANE, mine, 16)

    x = numbers()
    lanes = np.arange(THREADS) ^ 16
    expected = x[np.where(lanes % 32 < 16, lanes ^ 8, lanes)]
    assert everywhere(kernel, x, np.zeros(THREADS)).tolist() == expected.tolist()


def test_python_may_rewrite_its_instructions_meanwhile() -> None:
    """As it does for calls that come often: lanes at one expression are at different ones then."""

    @cuda.jit(device=True)
    def joined(pair, distance):
        return tuple(cuda.shfl_xor_sync(EVERY_LANE, x, distance) for x in pair)

    @cuda.jit
    def kernel(x, y):
        i = cuda.threadIdx.x
        pair = (x[i], -x[i])
        for _ in range(3):
            pair = joined(pair, 1)
        y[i] = pair[0]

    for _ in range(5):
        found = everywhere(kernel, numbers(), np.zeros(THREADS))
        assert found.tolist() == numbers().reshape(-1, 2)[:, ::-1].ravel().tolist()


# --- what warps and blocks can do ----------------------------------------------------------------


def test_a_shuffle_hands_over_every_bit(order: Any) -> None:
    @cuda.jit
    def kernel(x, y):
        lane = cuda.laneid
        y[lane, 0] = cuda.shfl_sync(EVERY_LANE, x[lane], 5)
        y[lane, 1] = cuda.shfl_sync(EVERY_LANE, x[lane], lane + 33)
        y[lane, 2] = cuda.shfl_up_sync(EVERY_LANE, x[lane], 3)
        y[lane, 3] = cuda.shfl_down_sync(EVERY_LANE, x[lane], 3)
        y[lane, 4] = cuda.shfl_xor_sync(EVERY_LANE, x[lane], 7)

    lanes = np.arange(32)
    sources = np.stack(
        [
            np.full(32, 5),
            (lanes + 1) % 32,
            np.where(lanes >= 3, lanes - 3, lanes),
            np.where(lanes < 29, lanes + 3, lanes),
            lanes ^ 7,
        ],
        axis=1,
    )
    x = np.random.default_rng(0).normal(size=32)
    for kind in (np.float64, np.float32, np.int64, np.int32):
        given = (x * 2**28).astype(kind)
        found = launched(kernel, given, np.zeros((32, 5), kind), block=32)
        assert found.tobytes() == given[sources].tobytes()


def test_votes() -> None:
    @cuda.jit
    def kernel(y):
        i = cuda.threadIdx.x
        odd = i % 2 == 1
        y[i, 0] = cuda.ballot_sync(EVERY_LANE, odd)
        y[i, 1] = cuda.all_sync(EVERY_LANE, i >= 32)
        y[i, 2] = cuda.any_sync(EVERY_LANE, i == 40)
        y[i, 3] = cuda.syncthreads_count(odd)
        y[i, 4] = cuda.syncthreads_and(odd)
        y[i, 5] = cuda.syncthreads_or(odd)
        y[i, 6] = cuda.warpsize
        y[i, 7] = cuda.eq_sync(EVERY_LANE, i >= 40)
        y[i, 8] = cuda.activemask()
        if odd:
            y[i, 8] = cuda.activemask()

    found = everywhere(kernel, np.zeros((THREADS, 9), np.int64))
    odd = 0xAAAAAAAA
    for i, (first, second) in enumerate([(odd, odd), (0, 1), (0, 1), (32, 32), (0, 0), (1, 1)]):
        assert set(found[:32, i]) == {first}
        assert set(found[32:, i]) == {second}
    assert set(found[:, 6]) == {32}
    assert (set(found[:32, 7]), set(found[32:, 7])) == ({1}, {0})
    assert set(found[1::2, 8]) == {odd}
    assert set(found[0::2, 8]) == {EVERY_LANE}


def test_a_short_warp_meets_without_the_lanes_it_lacks() -> None:
    @cuda.jit
    def kernel(y):
        i = cuda.threadIdx.x
        y[i] = cuda.ballot_sync(EVERY_LANE, True)

    found = everywhere(kernel, np.zeros(40, np.int64), block=40)
    assert (set(found[:32]), set(found[32:])) == ({EVERY_LANE}, {0xFF})


def test_blocks_of_two_dimensions() -> None:
    @cuda.jit
    def kernel(y):
        i, j = cuda.grid(2)
        y[i, j] = 1000 * cuda.laneid + 100 * cuda.blockIdx.y + 10 * cuda.threadIdx.x
        y[i, j] += cuda.threadIdx.y

    found = everywhere(kernel, np.zeros((8, 12), np.int64), grid=(2, 3), block=(4, 4))
    i, j = np.meshgrid(np.arange(8), np.arange(12), indexing="ij")
    lane = i % 4 + 4 * (j % 4)
    assert found.tolist() == (1000 * lane + 100 * (j // 4) + 10 * (i % 4) + j % 4).tolist()


def test_every_block_has_shared_memory_of_its_own() -> None:
    @cuda.jit
    def kernel(y):
        held = cuda.shared.array(1, float32)
        block = cuda.blockIdx.x
        if block % 2 == 0:
            held[0] = block
        y[block] = held[0]  # NaN where nothing has been written

    found = everywhere(kernel, np.zeros(4, np.float32), grid=4, block=1)
    assert np.isnan(found).tolist() == [False, True, False, True]


def test_dynamic_shared_memory_is_one_buffer() -> None:
    @cuda.jit
    def kernel(x, y):
        first = cuda.shared.array(0, float64)
        second = cuda.shared.array(0, int32)
        i = cuda.threadIdx.x
        first[i] = x[i]
        cuda.syncthreads()
        y[i] = second[2 * i + 1]

    found = everywhere(kernel, numbers(), np.zeros(THREADS, np.int32), shared=8 * THREADS)
    assert found.tolist() == (numbers().view(np.int64) >> 32).tolist()
    with simulated(), pytest.raises(IndexError):
        launched(kernel, numbers(), np.zeros(THREADS, np.int32))


def test_two_calls_of_a_device_function_share_its_memory() -> None:
    def summed() -> Any:
        @cuda.jit(device=True)
        def total(x, careful):
            held = cuda.shared.array(THREADS, float64)
            if careful:
                cuda.syncthreads()
            held[cuda.threadIdx.x] = x
            cuda.syncthreads()
            return held[0] + held[THREADS - 1]

        return total

    one, other = summed(), summed()

    @cuda.jit
    def same(x, y):
        i = cuda.threadIdx.x
        y[i] = one(x[i], False) + one(2 * x[i], careful)

    @cuda.jit
    def apart(x, y):
        i = cuda.threadIdx.x
        y[i] = one(x[i], False) + other(2 * x[i], False)

    careful = True
    for kernel in (same, apart):
        assert set(everywhere(kernel, numbers(), np.zeros(THREADS))) == {3 * 65}
    careful = False
    with simulated(), pytest.raises(RaceError):
        launched(same, numbers(), np.zeros(THREADS))


# --- memory and numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("past", [-1, THREADS, (0, 0)])
@pytest.mark.parametrize("act", ["read", "write", "shared", "local", "atomic"])
def test_an_index_out_of_bounds_is_refused(act: str, past: Any, order: Any) -> None:
    @cuda.jit
    def kernel(x, y):
        i = cuda.threadIdx.x
        index = past if i == 33 else i
        if act == "read":
            y[i] = x[index]
        elif act == "write":
            y[index] = x[i]
        elif act == "atomic":
            cuda.atomic.add(y, index, x[i])
        elif act == "shared":
            cuda.shared.array(THREADS, float32)[index] = x[i]
        else:
            cuda.local.array(THREADS, float32)[index] = x[i]

    with pytest.raises(IndexError, match=r"thread \(33, 0, 0\) of block \(0, 0, 0\)"):
        launched(kernel, numbers(), np.zeros(THREADS))


def test_a_row_of_an_array_is_checked_too() -> None:
    @cuda.jit
    def kernel(x, y):
        row = x[1]
        y[0] = row[cuda.threadIdx.x + reach]

    for reach in (0, 3):
        with simulated():
            if reach == 0:
                assert launched(kernel, numbers(6).reshape(2, 3), np.zeros(1), block=1) == 4
            else:
                with pytest.raises(IndexError, match="argument 0"):
                    launched(kernel, numbers(6).reshape(2, 3), np.zeros(1), block=1)


def test_any_memory_layout_is_written_through(order: Any) -> None:
    @cuda.jit
    def kernel(x, outputs):
        i = cuda.threadIdx.x
        outputs[0][i] = x[i]
        outputs[1][i] = 2 * x[i]

    whole = np.zeros((2, 2 * THREADS))
    kernel[1, THREADS](numbers()[::-1], (whole[0, ::2], whole[1, ::-2]))
    assert whole[0, ::2].tolist() == numbers()[::-1].tolist()
    assert whole[1, ::-2].tolist() == (2 * numbers()[::-1]).tolist()
    assert not whole[0, 1::2].any()


def test_arithmetic_never_raises_and_keeps_its_format(order: Any) -> None:
    @cuda.jit
    def kernel(x, y):
        zero, large = x[0], x[1]
        y[0] = 1 / zero
        y[1] = large * large
        y[2] = math.exp(large)
        y[3] = math.log(zero)
        y[4] = math.sqrt(-large)
        y[5] = math.pow(large, large)
        y[6] = math.log1p(-math.exp(zero))
        kinds[type(math.exp(zero)), type(math.exp(x[0] * large))] = True

    for kind, large in ((np.float64, 1e300), (np.float32, 1e30)):
        kinds: dict[Any, bool] = {}
        found = launched(kernel, np.array([0, large], kind), np.zeros(7, kind), block=1)
        assert kinds == {(kind, kind): True}
        expected = [math.inf, math.inf, math.inf, -math.inf, math.nan, math.inf, -math.inf]
        np.testing.assert_array_equal(found, expected)


def test_scalars_are_numbers_of_the_device() -> None:
    @cuda.jit
    def kernel(x, n, y):
        y[0] = 1 / x + n

    y = np.zeros(1)
    with simulated():
        kernel[1, 1](0.0, 3, y)
    assert y[0] == math.inf


def test_names_are_given_back_after_a_failure() -> None:
    before = cuda, math
    with simulated(), pytest.raises(DivergenceError):
        launched(barrier_for_half, np.zeros(THREADS))
    assert before == (cuda, math)


def test_another_error_says_where() -> None:
    @cuda.jit
    def kernel(y):
        y[0] = {}[cuda.threadIdx.x]

    with simulated(), pytest.raises(KeyError) as caught:
        launched(kernel, np.zeros(1), block=1)
    assert caught.value.__notes__ == ["in thread (0, 0, 0) of block (0, 0, 0)"]


def test_a_test_that_says_nothing_is_scheduled_strictly() -> None:
    with pytest.raises(DivergenceError):
        launched(barrier_for_half, np.zeros(THREADS))
