"""The reader: every form of input and answer that the files may hold."""

import numpy as np
import pytest

from refloss import oracles
from refloss.accuracy import FORMATS, rounded
from refloss.oracles.rows import Row, _splitmix64, read


def row(**parts: object) -> Row:
    empty = {"id": "bulk/0000", "region": "bulk", "flags": [], "dtypes": [], "inputs": {}}
    return Row({**empty, "options": {}, **parts})


def test_splitmix64_gives_the_published_numbers() -> None:
    """The first output from state 0, and the first two from 1234567."""
    step = 0x9E3779B97F4A7C15
    states = np.array([0, 1234567, (1234567 + step) % 2**64], np.uint64)
    expected = [0xE220A8397B1DCDAF, 6457827717110365317, 3203168211198807973]
    assert _splitmix64(states).tolist() == expected


@pytest.mark.parametrize("dtype", FORMATS)
def test_recipes_are_exact_in_every_format(dtype: str) -> None:
    inputs = {
        "input": {"shape": [100, 7], "recipe": "eighths", "seed": 3},
        "target": {"shape": [100], "recipe": "labels", "seed": 4, "classes": 7},
        "weight": {"shape": [50], "recipe": "sixteenths", "seed": 5},
        "sign": {"shape": [50], "recipe": "signs", "seed": 6},
    }
    arrays = row(inputs=inputs).arrays(dtype)
    assert arrays["input"].dtype == FORMATS[dtype].dtype
    eighths = arrays["input"].astype(float) * 8
    assert set(np.unique(eighths)) <= set(range(-64, 64))
    assert len(np.unique(eighths)) > 100
    assert arrays["target"].dtype == np.int64
    assert set(arrays["target"]) == set(range(7))
    assert set(np.unique(arrays["weight"].astype(float) * 32)) <= set(range(1, 33, 2))
    assert set(np.unique(arrays["sign"].astype(float))) == {-1, 1}


def test_an_unknown_recipe_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'tenths'"):
        row(inputs={"x": {"shape": [1], "recipe": "tenths", "seed": 0}}).arrays("float32")


def test_inputs_options_and_answers() -> None:
    one = row(
        inputs={
            "input": {"shape": [2, 2], "data": ["0x1.8p+1", "inf", "nan", "-0x1p-149"]},
            "target": {"shape": [2], "index": [1, -100]},
        },
        options={
            "delta": "0x1.8p+0",
            "beta": "inf",
            "reduction": "mean",
            "ignore_index": -100,
            "alpha": None,
            "log_target": False,
        },
        value={"shape": [], "data": ["0x1.5555555555555555555p-2"]},
        gradient={
            "input": {"shape": [2, 2], "at": [1, 3], "data": [["-0x1p+0", "0x1p+0"], "0x1p+0"]},
            "target": None,
        },
        curvature={"input": {"shape": [1], "data": ["0x0p+0"], "scale": ["0x1p+0"]}},
        conventions={"other": {"value": {"shape": [], "data": ["nan"]}}},
    )
    arrays = one.arrays("float32")
    np.testing.assert_array_equal(
        arrays["input"], np.float32([[3.0, np.inf], [np.nan, -(2.0**-149)]])
    )
    assert arrays["target"].tolist() == [1, -100]
    assert one.options == {
        "delta": 1.5,
        "beta": np.inf,
        "reduction": "mean",
        "ignore_index": -100,
        "alpha": None,
        "log_target": False,
    }
    assert set(one.answers) == {"value", "gradient.input", "curvature.input"}
    assert rounded(one.answers["value"].answer.lower, "float64") == 1 / 3
    sparse = one.answers["gradient.input"]
    assert [sparse.index(0), sparse.index(1)] == [(0, 1), (1, 1)]
    assert sparse.answer.decimal(0) == "[-1.0, 1.0]"
    assert sparse.answer.decimal(1) == "1.0"
    scale = one.answers["curvature.input"].answer.scale
    assert scale is not None
    assert rounded(scale, "float64") == 1
    assert set(one.conventions["other"]) == {"value"}


def test_a_file_of_another_schema_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = oracles.FOLDER.__class__(str(tmp_path)) / "odd.jsonl"
    path.write_text('{"schema": "refloss-oracle-9", "loss": "odd"}\n')
    monkeypatch.setattr(oracles, "FOLDER", path.parent)
    with pytest.raises(ValueError, match="expected schema 'refloss-oracle-1'"):
        oracles.header("odd")


@pytest.mark.parametrize("loss", oracles.names())
def test_every_file_reads(loss: str) -> None:
    oracle = oracles.load(loss)
    assert oracle.loss == loss
    assert len({one.id for one in oracle.rows}) == len(oracle.rows)
    for one in oracle.rows:
        assert one.region in oracle.header["regions"]
        assert set(one.conventions) <= set(oracle.header["conventions"])
        for expected in one.answers.values():
            entries = len(expected.answer)
            size = int(np.prod(expected.shape))
            assert entries == (size if expected.at is None else len(expected.at))


@pytest.mark.parametrize("loss", oracles.names())
def test_inputs_are_exact_in_the_formats_they_are_for(loss: str) -> None:
    for one in oracles.load(loss).rows:
        wide = one.arrays("float64")
        for dtype in one.dtypes:
            for name, array in one.arrays(dtype).items():
                np.testing.assert_array_equal(array.astype(np.float64), wide[name], one.id)


def test_lines_become_rows() -> None:
    lines = ['{"schema": "refloss-oracle-1", "loss": "x"}', '{"id": "a/1"}', '{"id": "b/1"}']
    oracle = read(lines)
    assert [one.id for one in oracle.rows] == ["a/1", "b/1"]
    assert oracle.row("b/1") is oracle.rows[1]
