"""Whether kernels can run on a GPU here and, if not, what is missing.

numba-cuda is asked before anything is built on it: this module imports nothing until it is called.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

NUMPY_WITHOUT_ROW_STACK = (2, 5)


class BackendUnavailable(RuntimeError):
    """Something that a backend needs is missing; the message says what, and what to install."""


def require() -> None:
    """Raise if the CUDA kernels cannot run here."""
    missing = reason()
    if missing is not None:
        raise BackendUnavailable(missing)


def simulated() -> bool:
    """Whether kernels run in Numba's simulator, on NumPy arrays."""
    return bool(import_module("numba").config.ENABLE_CUDASIM)


@cache
def reason() -> str | None:
    """None if the CUDA kernels can run here, else one sentence that says what is missing."""
    return _missing_package() or (None if simulated() else _missing_device())


@cache
def cupy_reason() -> str | None:
    """None if CuPy can compute here, else one sentence that says what is missing."""
    if find_spec("cupy") is None:
        return f"CuPy is not installed: {_install('cupy-cuda13x')}"
    try:
        cupy = import_module("cupy")
    except ImportError as problem:
        return f"CuPy cannot be imported ({_brief(problem)}): {_install('cupy-cuda13x')}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as problem:  # what CuPy raises has its own type for each library below it
        return f"CuPy finds {_why_not(_brief(problem))}"
    return None if count else "CuPy finds no CUDA device"


def _install(what: str) -> str:
    return f"pip install '{what}'"


def _brief(problem: object) -> str:
    """The first sentence of an error's message."""
    return " ".join(str(problem).split()).partition(". ")[0].rstrip(".")


def _missing_package() -> str | None:
    if find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {_install('refloss[cuda13]')}"
    try:
        cuda = import_module("numba.cuda")
    except ImportError as problem:
        return f"numba-cuda cannot be imported ({_brief(problem)}): {_install('refloss[cuda13]')}"
    if getattr(cuda, "implementation", None) != "NVIDIA":
        return (
            "numba.cuda is the one built into Numba although numba-cuda is installed: its .pth "
            "file was not read, which Python does only for packages in site-packages; "
            f"{_install('refloss[cuda13]')} there"
        )
    return _unfit_numpy()


def _unfit_numpy() -> str | None:
    numpy = import_module("numpy")
    major, minor = (int(part) for part in numpy.__version__.split(".")[:2])
    if (major, minor) < NUMPY_WITHOUT_ROW_STACK:
        return None
    try:  # the first kernel would import it, and a version of numba-cuda may have been mended
        import_module("numba.cuda.np.arrayobj")
    except AttributeError as problem:
        return (
            f"numba-cuda does not work with NumPy {numpy.__version__} ({_brief(problem)}): "
            f"{_install('numpy<2.5')}"
        )
    return None


def _missing_device() -> str | None:
    cuda = import_module("numba.cuda")
    if not cuda.is_available():
        problem = cuda.cuda_error()
        if problem is None:
            return f"numba-cuda finds no libnvvm to compile with: {_install('refloss[cuda13]')}"
        return f"numba-cuda finds {_why_not(_brief(problem))}"
    if len(cuda.gpus) == 0:
        return "numba-cuda finds no CUDA device"
    return _old_driver(cuda)


def _old_driver(cuda: Any) -> str | None:
    driver, toolkit = cuda.cudadrv.driver.get_version(), cuda.runtime.get_version()
    if driver[0] >= toolkit[0]:
        return None
    return (
        f"the NVIDIA driver knows CUDA {driver[0]}.{driver[1]}, too old for the CUDA "
        f"{toolkit[0]}.{toolkit[1]} that is installed: update it, or "
        + _install(f"refloss[cuda{driver[0]}]")
    )


def _why_not(problem: str) -> str:
    """Of the many words for it, which of four things is wrong."""
    words = problem.lower().replace("_", " ").replace("-", " ")
    if "no device" in words or "nodevice" in words or "no cuda capable device" in words:
        return f"no CUDA device ({problem})"
    if "library cannot be found" in words or "not found" in words or "stub" in words:
        return f"no NVIDIA driver ({problem}): install the one for your GPU"
    if "insufficient" in words or "mismatch" in words or "compat" in words:
        return f"an NVIDIA driver missing or too old ({problem}): install the newest for your GPU"
    return f"no CUDA device that works ({problem})"
