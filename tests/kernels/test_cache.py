"""Kernels on disk: loaded by the next process, never stale, and never in the way."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import refloss
from refloss.__main__ import main
from refloss.kernels import cache, directory

SOURCES = Path(refloss.__file__).parent

# A kernel of each kind: by a factory, of one intrinsic over arrays, one with an inner kernel
TRIED = """
import numba, numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from refloss.kernels.cache import kept

def made(number):
    inner = numba.njit(lambda x: x + number)
    def shifted(x):
        return inner(x) if x > -1e300 else inner(inner(x) * x) / inner(x - 1.0)
    return kept(shifted, ("by", number))

def written(number):
    @intrinsic
    def body(context, x, out):
        def build(context, builder, signature, arguments):
            data = [context.make_array(k)(context, builder, a).data
                    for k, a in zip(signature.args, arguments)]
            x = builder.load(data[0])
            builder.store(builder.fmul(x, ir.Constant(ir.DoubleType(), number)), data[1])
            return context.get_dummy_value()
        return types.void(x, out), build
    def filled(x, out):
        body(x, out)
    return kept(filled, (str(number),), in_instructions=True)

def ask(kind, number):
    if kind == "made":
        kernel, found = made(number), made(number)(1.0)
    else:
        out = np.empty(1)
        kernel = written(number)
        kernel(np.ones(1), out)
        found = out[0]
    print(float(found))

def count(kernel):
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of refloss, with kernels to try."""
    root = tmp_path_factory.mktemp("copied")
    shutil.copytree(SOURCES, root / "refloss", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "refloss/tried.py").write_text(TRIED, encoding="utf-8")
    return root


def begun(root: Path, code: str, **environment: str | None) -> subprocess.Popen[str]:
    """A fresh process with the copy of refloss."""
    everything = {**os.environ, "REFLOSS_CACHE_DIR": str(root / "cache"), **environment}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        env={name: value for name, value in everything.items() if value is not None}
        | {"PYTHONPATH": str(root)},
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def printed(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert not err, "it says nothing of what is wrong with the disk"
    return out.split()


def run(root: Path, code: str, **environment: str | None) -> list[str]:
    return printed(begun(root, code, **environment))


SHIFTED = "from refloss.tried import *; k = made(2.0); print(k(1.0), *count(k))"


def files(root: Path) -> list[Path]:
    return directory.kernels(root / "cache")


@pytest.fixture
def empty(package: Path) -> Path:
    """The copy, with nothing compiled before."""
    shutil.rmtree(package / "cache", ignore_errors=True)
    return package


@pytest.mark.parametrize(
    "made",
    ["k = made(2.0); k(1.0)", "k = written(2.0); k(np.ones(1), np.empty(1))"],
    ids=["by a factory", "of one intrinsic"],
)
def test_a_later_process_loads_what_an_earlier_one_compiled(empty: Path, made: str) -> None:
    code = f"from refloss.tried import *; {made}; print(*count(k))"
    assert run(empty, code) == ["0", "1"]
    assert run(empty, code) == ["1", "0"]
    assert run(empty, code, NUMBA_OPT="1") == ["0", "1"], "compiled in another way"
    assert run(empty, code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ["0", "1"]


def test_a_loss_loads_all_of_its_kernels(empty: Path) -> None:
    code = (
        "import gc, numba, numpy as np, refloss\n"
        "found = refloss.huber_loss.value_and_grad(np.ones(3), np.zeros(3))\n"
        "dispatchers = numba.core.dispatcher.Dispatcher\n"
        "asked = [k.stats for k in gc.get_objects() if isinstance(k, dispatchers)]\n"
        "print(*found[1], found[0], sum(sum(s.cache_misses.values()) for s in asked))"
    )
    *first, compiled = run(empty, code)
    assert int(compiled) > 0
    assert run(empty, code) == [*first, "0"]


def test_kernels_of_one_name_from_several_processes_keep_apart(empty: Path) -> None:
    """Symbols of one name would lead to one code, the first that LLVM sees."""
    for kind in ("made", "written"):
        found = []
        for number in (2.0, 3.0):
            found += run(empty, f"from refloss.tried import ask; ask('{kind}', {number})")
        both = f"from refloss.tried import ask; ask('{kind}', 2.0); ask('{kind}', 3.0)"
        assert found == run(empty, both)
    linked = (
        "from refloss.tried import *\n"
        "two, three = made(2.0), made(3.0)\n"
        "together = numba.njit(lambda x: 100 * two(x) + three(x))\n"
        "print(together(1.0), *count(two), *count(three))"
    )
    assert run(empty, linked) == ["304.0", "1", "0", "1", "0"]


def test_an_edited_source_is_never_stale(empty: Path) -> None:
    """A loss, an inner formula, a word, an inner kernel: what runs is what is written."""
    edits = [
        ("losses/mse_loss.py", "return r * r", "return r * r * r"),
        ("formula/distance.py", "return share * share", "return share * share * share"),
        ("formula/emitted.py", "return code.absolute(x)", "return code.absolute(x + x)"),
        ("kernels/cpu.py", "return total, rest", "return total + 1.0, rest"),
    ]
    code = (
        "import numpy as np, refloss\n"
        "from refloss.kernels import cpu\n"
        "from refloss.triplets import METRICS\n"
        "x, y = np.array([[2.0, 5.0]]), np.zeros((1, 2))\n"
        "print(refloss.mse_loss(x, y), refloss.l1_loss(x, y), cpu.sum_pair(x))\n"
        "print(cpu.distances(x, y, METRICS['sqeuclidean']))"
    )
    seen = [run(empty, code)]
    assert run(empty, code) == seen[0]
    before = {path: path.read_text(encoding="utf-8") for path in (empty / "refloss").rglob("*.py")}
    for name, old, new in edits:
        path = empty / "refloss" / name
        assert before[path].count(old) >= 1, f"{name}: {old}"
        path.write_text(before[path].replace(old, new), encoding="utf-8")
        found = run(empty, code)
        assert found not in seen, name
        seen.append(found)
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")
    assert run(empty, code) == seen[0]


def test_a_process_that_runs_older_sources_keeps_nothing(empty: Path) -> None:
    code = (
        "from refloss.tried import *\n"
        "import refloss.kernels.cache as c, pathlib\n"
        "k = made(2.0)\n"
        "{first}\n"
        "path = pathlib.Path(c.__file__); path.write_bytes(path.read_bytes())\n"
        "k(1.0)"
    )
    for first in ("pass", "k(1)"):  # before it looks for kernels, and between two of them
        run(empty, code.format(first=first))
    assert len(files(empty)) == 1


DAMAGES: dict[str, Any] = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "something else": lambda data: b"something else" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_anew(empty: Path, damage: str) -> None:
    expected = run(empty, SHIFTED)[0]
    (file,) = files(empty)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert run(empty, SHIFTED) == [expected, "0", "1"]
    assert run(empty, SHIFTED) == [expected, "1", "0"], "and kept anew"


def test_a_file_that_does_not_load_is_compiled_anew(empty: Path) -> None:
    """What another version of Numba, of the same name, has pickled."""
    expected = run(empty, SHIFTED)[0]
    (file,) = files(empty)
    payload = b"c__main__\nnothing\n."
    file.write_bytes(cache._digest(payload) + payload)
    assert run(empty, SHIFTED) == [expected, "0", "1"]
    file.unlink()
    file.mkdir()
    assert run(empty, SHIFTED) == [expected, "0", "1"]


def test_without_a_place_to_write_it_runs_all_the_same(empty: Path) -> None:
    occupied = empty / "occupied"
    occupied.touch()
    nowhere = {"HOME": str(occupied), "XDG_CACHE_HOME": None, "REFLOSS_CACHE_DIR": None}
    for environment in ({"REFLOSS_CACHE_DIR": str(occupied / "in a file")}, nowhere):
        assert run(empty, SHIFTED, **environment) == ["3.0", "0", "1"]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is of POSIX")
def test_a_disk_that_is_full_is_left_clean(empty: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
    assert run(empty, limit + SHIFTED) == ["3.0", "0", "1"]
    assert not files(empty)
    assert run(empty, SHIFTED) == ["3.0", "0", "1"]


def test_several_processes_at_once(empty: Path) -> None:
    together = [begun(empty, SHIFTED) for _ in range(3)]
    assert {printed(process)[0] for process in together} == {"3.0"}
    assert run(empty, SHIFTED) == ["3.0", "1", "0"]
    assert len(files(empty)) == 1


def test_it_can_be_switched_off(empty: Path) -> None:
    assert run(empty, SHIFTED, REFLOSS_CACHE_DIR="off") == ["3.0", "0", "1"]
    assert not (empty / "off").exists()
    assert not files(empty)


def test_numba_compiles_others_as_it_did() -> None:
    from numba.core.codegen import CPUCodeLibrary

    def of_function(x: float) -> float:
        return x + 1.0

    before = CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module
    assert cache.kept(of_function, in_instructions=True)(1.0) == 2.0
    with pytest.raises(cache.numba.TypingError):
        cache.kept(of_function, in_instructions=True)("no number")
    assert before == (CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module)


def test_a_fork_gives_names_of_its_own() -> None:
    from numba.core.bytecode import FunctionIdentity

    before = FunctionIdentity._unique_ids
    cache._renew_ids()
    assert abs(next(FunctionIdentity._unique_ids) - next(before)) > 1 << 20


def shifted(x: float) -> float:
    return x


def test_a_function_without_a_lasting_name_is_not_kept() -> None:
    def inner(x: float) -> float:
        return x

    def of_refloss(x: float) -> float:
        return x

    of_refloss.__module__ = "refloss.losses.mse_loss"
    kept = [("a", 1, 2.5, True, None, ("b",))]
    lost: list[Any] = [(inner,), (lambda x: x,), ((shifted,),), (object(),), ([],)]
    for key, is_kept in [(key, True) for key in kept] + [(key, False) for key in lost]:
        found = cache.kept(of_refloss, key)
        assert isinstance(found._cache, cache._Kept) is is_kept, key
    assert not isinstance(cache.kept(shifted, ("a",))._cache, cache._Kept), "from elsewhere"


def test_what_was_put_into_a_module_is_not_taken_for_what_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from refloss.formula import distance

    texts = []
    for name, other in [(None, None), ("size", distance.sign), ("INFINITY", 1.0)]:
        with monkeypatch.context() as patch:
            if name is not None:
                patch.setattr(distance, name, other)
            texts.append(cache._text((distance.share,)))
    assert None not in texts
    assert len(set(texts)) == 3
    monkeypatch.setattr(distance, "size", shifted)
    assert cache._text((distance.share,)) is None, "from elsewhere"


def test_keys_are_told_apart() -> None:
    from refloss.formula.elementary import PROMISED_ULP
    from refloss.losses.mse_loss import value

    keys = [(), ("1",), (1,), (1.0,), (True,), ("a", "b"), (("a", "b"),), ("a,b",), (value,)]
    texts = {cache._text((*key, PROMISED_ULP)) for key in keys}
    assert None not in texts
    assert len(texts) == len(keys)


def test_versions_and_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {cache._state()}
    for package in (cache.numba, cache.llvmlite, cache.numpy):
        with monkeypatch.context() as patch:
            patch.setattr(package, "__version__", "0.0.1")
            states.add(cache._state())
    with monkeypatch.context() as patch:
        patch.setenv("NUMBA_LOOP_VECTORIZE", "0")
        states.add(cache._state())
    assert len(states) == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert cache._state() in states


def test_old_generations_go_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLOSS_CACHE_DIR", str(tmp_path))
    other = tmp_path / "kernels-of-mine"
    other.mkdir()
    now, count = time.time(), directory.GENERATIONS + 4
    for number in range(count):
        path = directory.generation(f"{number:032x}")
        assert path is not None
        directory.write(path / f"{0:032x}.kernel", b"code")
        hours = 0.5 if number == count - 1 else 1.5  # the first is the youngest of the old
        os.utime(path, 2 * (now - hours * directory.IN_USE - number,))
    directory.write(tmp_path / f"kernels-{'f' * 32}" / f"{0:032x}.kernel", b"code")
    left = {int(path.name[-32:], 16) for path in directory.generations(tmp_path)}
    # with the new one and the one in use, the youngest fill the number up
    expected = {16**32 - 1, count - 1, *range(directory.GENERATIONS - 2)}
    assert left == expected, "the last used, and those in use"
    assert other.is_dir()


def test_the_directory_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFLOSS_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    expected = {
        "linux": "/home/me/.cache/refloss",
        "darwin": "/home/me/Library/Caches/refloss",
        "win32": "/home/me/AppData/Local/refloss",
    }
    for platform, path in expected.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert directory.chosen() == Path(path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert directory.chosen() == Path("/cache/refloss")
    monkeypatch.setenv("REFLOSS_CACHE_DIR", "here")
    assert directory.chosen() == Path("here").absolute()
    monkeypatch.setenv("REFLOSS_CACHE_DIR", "off")
    assert directory.chosen() is None


def test_the_command_shows_and_clears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLOSS_CACHE_DIR", str(tmp_path / "kept"))
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kept'}: 0 compiled kernels, 0.0 MB\n"
    directory.write(tmp_path / f"kept/kernels-{0:032x}/{0:032x}.kernel", b"x" * 2_000_000)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kept'}: 1 compiled kernels, 2.0 MB\n"
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kept'}: 0 compiled kernels, 0.0 MB\n"
    assert not any((tmp_path / "kept").iterdir())
    monkeypatch.setenv("REFLOSS_CACHE_DIR", "off")
    assert main(["cache"]) == 0
    assert "compiled in every process" in capsys.readouterr().out
