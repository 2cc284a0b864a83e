"""What is missing for the GPU is told apart, each with what to install."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import arguments, dispatch
from refloss.kernels.cuda import available

CUDA13 = r"pip install 'refloss\[cuda13\]'"
NO_DEVICE = "[CUresult.CUDA_ERROR_NO_DEVICE] Call to cuInit results in CUDA_ERROR_NO_DEVICE (100)"
MISMATCH = "[CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH] Call to cuInit results in (803)"
NO_LIBRARY = "\nCUDA driver library cannot be found.\nEnsure that a compatible one is installed.\n"


def numba_cuda(**changes: Any) -> Any:
    """What numba-cuda answers where all is well, but for the changes."""

    def versions(version: tuple[int, int]) -> Any:
        return SimpleNamespace(get_version=lambda: version)

    known: dict[str, Any] = {
        "implementation": "NVIDIA",
        "error": None,
        "devices": 1,
        "available": True,
        "driver": (13, 0),
        "toolkit": (13, 0),
        **changes,
    }
    return SimpleNamespace(
        implementation=known["implementation"],
        is_available=lambda: known["available"],
        cuda_error=lambda: known["error"],
        gpus=[None] * known["devices"],
        cudadrv=SimpleNamespace(driver=versions(known["driver"])),
        runtime=versions(known["toolkit"]),
    )


Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Sets what can be imported here; an error is raised instead."""

    def setup(*, simulated: bool = False, numpy: str = "2.4.0", **modules: Any) -> None:
        known: dict[str, Any] = {
            "numba": SimpleNamespace(config=SimpleNamespace(ENABLE_CUDASIM=int(simulated))),
            "numpy": SimpleNamespace(__version__=numpy),
            **{name.replace("__", "."): module for name, module in modules.items()},
        }

        def imported(name: str) -> Any:
            found = known[name]
            if isinstance(found, Exception):
                raise found
            return found

        installed = {"numba_cuda": "numba.cuda", "cupy": "cupy"}
        monkeypatch.setattr(available, "import_module", imported)
        monkeypatch.setattr(available, "find_spec", lambda name: known.get(installed[name]))
        _ask_again()

    _ask_again()
    yield setup
    _ask_again()


def _ask_again() -> None:
    available.reason.cache_clear()
    available.cupy_reason.cache_clear()


MISSING: list[tuple[str, dict[str, Any], str]] = [
    ("numba-cuda", {}, rf"^numba-cuda is not installed: {CUDA13}$"),
    (
        "its bindings",
        {"numba__cuda": ImportError("NVIDIA CUDA Python bindings not found. Install them.")},
        rf"^numba-cuda cannot be imported \(NVIDIA .* bindings not found\): {CUDA13}$",
    ),
    (
        "its place",
        {"numba__cuda": numba_cuda(implementation="Built-in")},
        rf"^numba.cuda is the one built into Numba .*{CUDA13}",
    ),
    (
        "NumPy's row_stack",
        {
            "numba__cuda": numba_cuda(),
            "numba__cuda__np__arrayobj": AttributeError("module 'numpy' has no 'row_stack'"),
            "numpy": "2.5.1",
        },
        r"^numba-cuda does not work with NumPy 2.5.1 .*row_stack.*: pip install 'numpy<2.5'$",
    ),
    (
        "a driver",
        {"numba__cuda": numba_cuda(available=False, error=NO_LIBRARY)},
        r"^numba-cuda finds no NVIDIA driver \(CUDA driver library cannot be found\): install",
    ),
    (
        "a new driver",
        {"numba__cuda": numba_cuda(available=False, error=MISMATCH)},
        r"^numba-cuda finds an NVIDIA driver missing or too old \(.*803\)\): install the newest",
    ),
    (
        "a driver of this toolkit",
        {"numba__cuda": numba_cuda(driver=(12, 4))},
        r"knows CUDA 12.4, too old for the CUDA 13.0 .* or pip install 'refloss\[cuda12\]'$",
    ),
    (
        "a device",
        {"numba__cuda": numba_cuda(available=False, error=NO_DEVICE)},
        r"^numba-cuda finds no CUDA device \(",
    ),
    (
        "a device to see",
        {"numba__cuda": numba_cuda(devices=0)},
        r"^numba-cuda finds no CUDA device$",
    ),
    (
        "a compiler",
        {"numba__cuda": numba_cuda(available=False)},
        rf"^numba-cuda finds no libnvvm to compile with: {CUDA13}$",
    ),
    (
        "permission",
        {"numba__cuda": numba_cuda(available=False, error="CUDA is disabled")},
        r"^numba-cuda finds no CUDA device that works \(CUDA is disabled\)$",
    ),
]


@pytest.mark.parametrize(
    ("modules", "message"), [case[1:] for case in MISSING], ids=[case[0] for case in MISSING]
)
def test_what_is_missing_is_said(machine: Machine, modules: Any, message: str) -> None:
    machine(**modules)
    reason = available.reason()
    assert reason is not None
    assert "\n" not in reason
    with pytest.raises(refloss.BackendUnavailable, match=message):
        available.require()


def test_nothing_is_missing(machine: Machine) -> None:
    machine(numba__cuda=numba_cuda())
    assert available.reason() is None
    available.require()


def test_a_mended_numba_cuda_runs_beside_a_new_numpy(machine: Machine) -> None:
    machine(numba__cuda=numba_cuda(), numba__cuda__np__arrayobj=ModuleType("a"), numpy="2.5.2")
    assert available.reason() is None


def test_the_simulator_needs_no_device(machine: Machine) -> None:
    machine(numba__cuda=numba_cuda(available=False, error=NO_LIBRARY), simulated=True)
    assert available.reason() is None
    machine(simulated=True)
    assert "not installed" in str(available.reason())


def cupy(count: Any) -> Any:
    def devices() -> int:
        if isinstance(count, Exception):
            raise count
        return int(count)

    return SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=devices)))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({}, "CuPy is not installed: pip install 'cupy-cuda13x'"),
        ({"cupy": ImportError("libcudart.so: no file")}, "CuPy cannot be imported (libcudart.so: "),
        ({"cupy": cupy(0)}, "CuPy finds no CUDA device"),
        (
            {"cupy": cupy(RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))},
            "CuPy finds no CUDA device (cudaErrorNoDevice: ",
        ),
        (
            {"cupy": cupy(RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is ..."))},
            "CuPy finds an NVIDIA driver missing or too old (cudaErrorInsufficientDriver: ",
        ),
    ],
)
def test_what_cupy_misses_is_said(machine: Machine, modules: Any, message: str) -> None:
    machine(**modules)
    assert str(available.cupy_reason()).startswith(message)


def test_nothing_is_missing_for_cupy(machine: Machine) -> None:
    machine(cupy=cupy(2))
    assert available.cupy_reason() is None


def test_the_question_costs_no_import() -> None:
    """Nor does naming the error."""
    code = "import refloss; refloss.BackendUnavailable; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"numba", "numpy", "cupy", "torch", "numba_cuda"}


@pytest.mark.skipif(find_spec("numba_cuda") is not None, reason="numba-cuda is installed")
def test_without_numba_cuda() -> None:
    assert "numba-cuda is not installed" in str(available.reason())


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
def test_with_numba_cuda() -> None:
    """What numba-cuda itself says, in words that this module knows."""
    _ask_again()
    cuda = import_module("numba.cuda")
    reason = available.reason()
    assert (reason is None) == cuda.is_available()
    assert reason is None or reason.startswith("numba-cuda finds ")
    if "library cannot be found" in str(cuda.cuda_error()):
        assert "no NVIDIA driver" in str(reason)


# What is chosen


class OnDevice:
    """An array on a CUDA device, as far as choosing a backend looks at it."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)


@pytest.fixture
def device_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_cuda(array: Any) -> bool:
        return isinstance(array, OnDevice)

    monkeypatch.setattr(arguments, "on_cuda", on_cuda)
    monkeypatch.setattr(dispatch, "_can_compute", lambda *_: None)


@pytest.mark.usefixtures("device_arrays")
def test_cuda_runs_arrays_on_a_device_where_it_can(machine: Machine) -> None:
    machine(numba__cuda=numba_cuda())
    for backend, kernels in ((None, "cuda"), ("cuda", "cuda"), ("array", "arrays")):
        found = dispatch.kernels_for(OnDevice("float64"), backend)
        assert found.__name__ == f"refloss.kernels.{kernels}"
    found = dispatch.kernels_for(OnDevice("float16"), "cuda:float32", in_float32=True)
    assert found.__name__ == "refloss.kernels.cuda.single"


@pytest.mark.usefixtures("device_arrays")
def test_arrays_run_where_cuda_cannot_unless_it_was_asked_for(machine: Machine) -> None:
    machine()
    found = dispatch.kernels_for(OnDevice("float64"), None)
    assert found.__name__ == "refloss.kernels.arrays"
    for backend in ("cuda", "cuda:float32"):
        with pytest.raises(refloss.BackendUnavailable, match=r"^numba-cuda is not installed"):
            dispatch.kernels_for(OnDevice("float32"), backend, in_float32=True)


@pytest.mark.usefixtures("device_arrays")
def test_float32_inside_is_no_place_for_float64() -> None:
    message = r"^x: backend='cuda:float32' expected float16, bfloat16 or float32, got float64"
    with pytest.raises(TypeError, match=message):
        dispatch.kernels_for(OnDevice("float64"), "cuda:float32", "x", in_float32=True)


BATCH, GROUPS = np.ones((2, 3), np.float32), [0, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda **to: refloss.nt_xent_loss(BATCH, BATCH, **to),
        lambda **to: refloss.info_nce_loss(BATCH, BATCH, **to),
        lambda **to: refloss.sup_con_loss(BATCH, GROUPS, **to),
        lambda **to: refloss.batch_triplet_loss(BATCH, GROUPS, **to),
        lambda **to: refloss.mine_triplets(BATCH, GROUPS, **to),
        lambda **to: refloss.smooth_labels(GROUPS, 2, 0.1, **to),
        lambda **to: refloss.class_balanced_weights(GROUPS, **to),
    ],
)
def test_few_shapes_have_float32_inside(call: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^backend: 'cuda:float32' is for losses of elements"):
        call(backend="cuda:float32")


def test_arrays_beside_the_device_are_refused(machine: Machine) -> None:
    """With an error that does not depend on what the machine has."""
    machine()
    expected = r"^input: backend='cuda' expected an array on a CUDA device, got a NumPy array; copy"
    with pytest.raises(TypeError, match=expected):
        refloss.mse_loss([1.0], [2.0], backend="cuda")
    machine(numba__cuda=numba_cuda())
    with pytest.raises(TypeError, match=r"expected an array on a CUDA device"):
        refloss.cross_entropy(np.ones((1, 2)), [0], backend="cuda:float32")


@pytest.mark.parametrize("library", ["torch", "jax.numpy", "array_api_strict"])
@pytest.mark.parametrize("backend", ["cuda", "cuda:float32"])
def test_arrays_of_other_libraries_are_refused(library: str, backend: str) -> None:
    xp = pytest.importorskip(library, reason=f"{library} is not installed")
    x = xp.asarray([1.0], dtype=xp.float32)
    message = rf"^input: backend='{backend}' expected a CuPy array or a torch tensor .* on \S*[Cc]"
    with pytest.raises(TypeError, match=message):
        refloss.mse_loss(x, x, backend=backend)


def test_numpy_arrays_run_in_the_simulator(machine: Machine) -> None:
    machine(numba__cuda=numba_cuda(), simulated=True)
    found = dispatch.kernels_for(np.ones(2), "cuda")
    assert found.__name__ == "refloss.kernels.cuda"
    assert dispatch.kernels_for(np.ones(2), None).__name__ == "refloss.kernels.cpu"
