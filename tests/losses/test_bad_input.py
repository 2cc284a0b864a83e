"""Bad input gets one clear error: the argument, what was expected, and what came.

Each case stands in the table once: the call, the type of the error, and what its message says.
Nothing here may warn: pytest turns warnings into errors.
"""

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import refloss

from .bad_embeddings import EMBEDDINGS, Case
from .enrolled import EMBEDDED, ENROLLED, Entry

CE, NLL = refloss.cross_entropy, refloss.nll_loss
PROBS, SOFT_FOCAL = refloss.cross_entropy_with_probs, refloss.softmax_focal_loss
BCE, BCEWL = refloss.binary_cross_entropy, refloss.binary_cross_entropy_with_logits
FOCAL, HUBER, SMOOTH_L1 = refloss.sigmoid_focal_loss, refloss.huber_loss, refloss.smooth_l1_loss
MSE, L1, KL, VAE = refloss.mse_loss, refloss.l1_loss, refloss.kl_div, refloss.gaussian_kl
DISTIL, SMOOTH = refloss.distillation_loss, refloss.smooth_labels
BALANCED = refloss.class_balanced_weights

FROM_DISTANCE, HINGE = refloss.contrastive_loss_from_distance, refloss.hinge_embedding_loss
COSINE, SUP_CON = refloss.cosine_embedding_loss, refloss.sup_con_loss

Z = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
Y = np.array([2, 0])
P = np.array([[0.25, 0.25, 0.5], [0.5, 0.5, 0.0]])
X = np.array([0.5, 0.25, 1.0])
T = np.array([1.0, 0.0, 0.5])
NAN, INF = math.nan, math.inf

EVERY = pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)

SHAPES: list[Case] = [
    ("one label short", lambda: CE(Z, Y[:1]), ValueError, r"target: .*\(2,\).*got \(1,\)"),
    ("a column of labels", lambda: CE(Z, Y[:, None]), ValueError, r"target: .*got \(2, 1\)"),
    ("labels for no batch", lambda: CE(Z[0], Y), ValueError, r"target: .*\(\).*got \(2,\)"),
    ("transposed masses", lambda: CE(Z, P.T), ValueError, r"target: .*\(2, 3\), got \(3, 2\)"),
    ("0-d logits", lambda: CE(np.float64(1), 0), ValueError, r"input: .*got \(\)"),
    (
        "eight axes",
        lambda: CE(np.zeros((1, 2, *[1] * 6)), np.zeros((1, *[1] * 6), int)),
        ValueError,
        r"input: .*7 axes.*got \(1, 2, 1, 1, 1, 1, 1, 1\)",
    ),
    ("no class", lambda: CE(np.zeros((2, 0)), Y), ValueError, r"input: .*class.*\(2, 0\)"),
    ("no class, no batch", lambda: CE(np.zeros(0), 0), ValueError, r"input: .*class.*\(0,\)"),
    ("weights of two", lambda: CE(Z, Y, np.ones(2)), ValueError, r"weight: .*\(3,\), got \(2,\)"),
    ("weight a number", lambda: CE(Z, Y, 1.0), ValueError, r"weight: .*\(3,\), got \(\)"),
    ("weights a row", lambda: NLL(Z, Y, np.ones((1, 3))), ValueError, r"weight: .*got \(1, 3\)"),
    ("outer difference", lambda: MSE(X, T[:, None]), ValueError, r"target: .*got \(3, 1\)"),
    ("one for all", lambda: MSE(X, T[:1]), ValueError, r"target: .*\(3,\), got \(1,\)"),
    ("weights too long", lambda: L1(X, T, weight=np.ones(4)), ValueError, r"weight: .*got \(4,\)"),
    (
        "weights that would spread the input",
        lambda: BCEWL(X, T, np.ones((2, 3))),
        ValueError,
        r"weight: .*\(3,\), got \(2, 3\)",
    ),
    (
        "pos_weight of two",
        lambda: BCEWL(X, T, pos_weight=np.ones(2)),
        ValueError,
        r"pos_weight: .*got \(2,\)",
    ),
    ("logvar too long", lambda: VAE(X, np.ones(4)), ValueError, r"logvar: .*mu.*got \(4,\)"),
    ("teacher of two", lambda: DISTIL(Z, Z[:1]), ValueError, r"teacher: .*got \(1, 3\)"),
    ("smoothed shape", lambda: SMOOTH(P, 4, 0.1), ValueError, r"target: .*\(\.\.\., 4\), got"),
    ("smoothed number", lambda: SMOOTH(np.array(0.5), 2, 0.1), ValueError, r"target: .*got \(\)"),
    ("counts a matrix", lambda: BALANCED([[1, 2]]), ValueError, r"counts: .*got shape \(1, 2\)"),
    ("no counts", lambda: BALANCED([]), ValueError, r"counts: .*got shape \(0,\)"),
    (
        "upstream of a mean",
        lambda: MSE.grad(X, T, grad_output=np.ones(3)),
        ValueError,
        r"grad_output: .*\(\), got \(3,\)",
    ),
    (
        "upstream of rows",
        lambda: CE.grad(Z, Y, reduction="none", grad_output=np.ones((2, 3))),
        ValueError,
        r"grad_output: .*\(2,\), got \(2, 3\)",
    ),
    (
        "upstream missing an axis",
        lambda: CE.value_and_grad(Z, Y, reduction="none", grad_output=np.float64(1)),
        ValueError,
        r"grad_output: .*\(2,\), got \(\)",
    ),
]

LABELS: list[Case] = [
    ("label C", lambda: CE(Z, [0, 3]), ValueError, r"target: .*\[0, 3\).*-100.*got 3 at .*\(1,\)"),
    ("label -1", lambda: CE(Z, [-1, 0]), ValueError, r"target: .*got -1 at index \(0,\)"),
    ("first of two", lambda: CE(Z, [7, -9]), ValueError, r"got 7 at index \(0,\)"),
    ("-100 not ignored", lambda: CE(Z, [-100, 0], None, -1), ValueError, r"got -100 at .*\(0,\)"),
    (
        "in an image",
        lambda: CE(np.zeros((1, 2, 2, 2)), np.array([[[0, 1], [2, 0]]])),
        ValueError,
        r"target: .*got 2 at index \(0, 1, 0\)",
    ),
    ("huge label", lambda: CE(Z, np.array([2**62, 0])), ValueError, r"got 4611686018427387904 at"),
    (
        "ignore_index, wrapped",
        lambda: CE(Z, np.array([2**64 - 100, 0], np.uint64)),
        ValueError,
        r"got 18446744073709551516 at index \(0,\)",
    ),
    (
        "ignore_index, wrapped in a byte",
        lambda: CE(Z, np.array([156, 0], np.uint8)),
        ValueError,
        r"got 156 at index \(0,\)",
    ),
    (
        "unsigned label",
        lambda: CE(Z, np.array([2**63, 0], np.uint64)),
        ValueError,
        r"got 9223372036854775808 at",
    ),
    ("smallest label", lambda: NLL(Z, np.array([0, -(2**63)])), ValueError, r"got -9223372036854"),
    ("nll", lambda: NLL(Z, [0, 3]), ValueError, r"target: .*got 3 at index \(1,\)"),
    ("probabilities", lambda: PROBS(P, [0, 3]), ValueError, r"target: .*got 3 at index \(1,\)"),
    ("focal", lambda: SOFT_FOCAL(Z, [5, 0]), ValueError, r"target: .*got 5 at index \(0,\)"),
    ("smoothing", lambda: SMOOTH([0, 2], 2, 0.1), ValueError, r"target: .*got 2 at index \(1,\)"),
    ("no ignoring there", lambda: SMOOTH([-100], 2, 0.1), ValueError, r"target: .*got -100"),
    ("bool labels", lambda: CE(Z, np.array([True, False])), TypeError, r"target: .*bool"),
    ("bool labels, nll", lambda: NLL(Z, np.array([True, False])), TypeError, r"target: .*bool"),
    ("floating labels, nll", lambda: NLL(Z, np.ones(2)), TypeError, r"target: .*float64"),
    ("floating labels", lambda: SOFT_FOCAL(Z, P), TypeError, r"target: .*float64"),
    (
        "ignoring masses",
        lambda: CE(Z, P, ignore_index=1),
        ValueError,
        r"ignore_index: .*probabilities, got 1",
    ),
]

DTYPES: list[Case] = [
    ("integer logits", lambda: CE(Z.astype(int), Y), TypeError, r"input: .*float32.*got int64"),
    ("integers, a list", lambda: MSE([1, 2], [1, 2]), TypeError, r"input: .*got int64"),
    ("bool", lambda: MSE(X > 0, T > 0), TypeError, r"input: .*got bool"),
    ("complex", lambda: MSE(X + 0j, T), TypeError, r"input: .*got complex128"),
    ("objects", lambda: MSE(X.astype(object), T), TypeError, r"input: .*got object"),
    ("text", lambda: MSE(np.array(["1.5"]), T[:1]), TypeError, r"input: .*got <U3"),
    ("bytes", lambda: MSE(np.array([b"1.5"]), T[:1]), TypeError, r"input: .*got \|S3"),
    (
        "long doubles",
        lambda: MSE(X.astype(np.longdouble), T),
        TypeError,
        r"input: .*longdouble|128",
    ),
    ("times", lambda: MSE(np.array([1, 2, 3], "m8[s]"), T), TypeError, r"input: .*got timedelta"),
    ("records", lambda: MSE(np.zeros(3, "f8,f8"), T), TypeError, r"input: .*got "),
    (
        "float8",
        lambda: MSE(X.astype(ml_dtypes.float8_e4m3fn), T),
        TypeError,
        r"input: .*got float8_e4m3fn",
    ),
    ("two formats", lambda: MSE(X, T.astype("f4")), TypeError, r"target: .*float64.*got float32"),
    (
        "two formats, bfloat16",
        lambda: MSE(X.astype(ml_dtypes.bfloat16), X.astype("f2")),
        TypeError,
        r"target: .*bfloat16.*got float16",
    ),
    ("two formats, masses", lambda: CE(Z, P.astype("f4")), TypeError, r"target: .*got float32"),
    ("two formats, kl", lambda: VAE(X, X.astype("f2")), TypeError, r"logvar: .*mu, got float16"),
    ("integer weights", lambda: CE(Z, Y, np.array([1, 2, 3])), TypeError, r"weight: .*got int64"),
    ("complex labels", lambda: CE(Z, Y + 0j), TypeError, r"target: .*complex128"),
    (
        "integer upstream",
        lambda: MSE.grad(X, T, grad_output=np.array(1)),
        TypeError,
        r"grad_output: .*got int64",
    ),
    ("dtype of labels", lambda: SMOOTH([0], 2, 0.1, dtype="int8"), TypeError, r"dtype: .*int8"),
    ("a mask", lambda: MSE(np.ma.masked_array(X, [0, 1, 0]), T), TypeError, r"input: .*mask"),
    ("a masked target", lambda: MSE(X, np.ma.array(T)), TypeError, r"target: .*mask"),
    ("ragged", lambda: MSE([[1.0], [1.0, 2.0]], X), ValueError, r"input: .*ragged"),
    ("None", lambda: MSE(None, T), TypeError, r"input: .*NoneType"),
    ("None for labels", lambda: CE(Z, None), TypeError, r"target: .*NoneType"),
    ("a set", lambda: MSE({1.0, 2.0, 3.0}, T), TypeError, r"input: .*got set"),
    ("a dict", lambda: MSE(X, {"a": 1.0}), TypeError, r"target: .*got dict"),
    ("a string", lambda: MSE("1.5", T), TypeError, r"input: .*got str"),
    ("a generator", lambda: MSE((x for x in X), T), TypeError, r"input: .*got generator"),
    ("a list of None", lambda: MSE([None, 1.0], X[:2]), TypeError, r"input: .*got object"),
    ("negative floats", lambda: SMOOTH(["a"], 2, 0.1), TypeError, r"target: .*got <U1"),
]

RANGES: list[Case] = [
    ("negative weight", lambda: CE(Z, Y, -np.ones(3)), ValueError, r"weight: .*>= 0, got -1.*\(0,"),
    ("last weight", lambda: NLL(Z, Y, [1.0, 1.0, -2.0]), ValueError, r"weight: .*got -2.*\(2,\)"),
    ("element weight", lambda: HUBER(X, T, weight=-X), ValueError, r"weight: .*got -0.5 .*\(0,\)"),
    ("pos_weight", lambda: BCEWL(X, T, pos_weight=-X), ValueError, r"pos_weight: .*got -0.5"),
    ("delta 0", lambda: HUBER(X, T, delta=0.0), ValueError, r"delta: .*\(0, inf\), got 0.0"),
    ("delta -1", lambda: HUBER(X, T, delta=-1), ValueError, r"delta: .*got -1"),
    ("delta NaN", lambda: HUBER(X, T, delta=NAN), ValueError, r"delta: .*got nan"),
    ("beta -1", lambda: SMOOTH_L1(X, T, beta=-1.0), ValueError, r"beta: .*\[0, inf\), got -1.0"),
    ("beta NaN", lambda: SMOOTH_L1(X, T, beta=NAN), ValueError, r"beta: .*got nan"),
    ("gamma -1", lambda: FOCAL(X, T, gamma=-1.0), ValueError, r"gamma: .*got -1.0"),
    ("gamma NaN", lambda: SOFT_FOCAL(Z, Y, NAN), ValueError, r"gamma: .*got nan"),
    ("alpha 1.5", lambda: FOCAL(X, T, 1.5), ValueError, r"alpha: .*\[0, 1\], got 1.5"),
    ("alpha -1", lambda: FOCAL(X, T, -1), ValueError, r"alpha: .*got -1"),
    ("alpha NaN", lambda: FOCAL(X, T, NAN), ValueError, r"alpha: .*got nan"),
    ("temperature 0", lambda: DISTIL(Z, Z, 0.0), ValueError, r"temperature: .*\(0, .*got 0.0"),
    ("temperature -1", lambda: DISTIL(Z, Z, -1.0), ValueError, r"temperature: .*got -1.0"),
    ("temperature NaN", lambda: DISTIL(Z, Z, NAN), ValueError, r"temperature: .*got nan"),
    (
        "smoothing 1.5",
        lambda: CE(Z, Y, label_smoothing=1.5),
        ValueError,
        r"label_smoothing: .*\[0, 1\], got 1.5",
    ),
    (
        "smoothing NaN",
        lambda: CE(Z, Y, label_smoothing=NAN),
        ValueError,
        r"label_smoothing: .*got nan",
    ),
    ("epsilon -1", lambda: SMOOTH([0], 2, -1), ValueError, r"epsilon: .*got -1"),
    ("no classes", lambda: SMOOTH([0], 0, 0.1), ValueError, r"num_classes: .*got 0"),
    ("half a class", lambda: SMOOTH([0], 2.5, 0.1), TypeError, r"num_classes: .*got 2.5"),
    ("beta 1.5", lambda: BALANCED([1, 2], 1.5), ValueError, r"beta: .*\[0, 1\], got 1.5"),
    ("counts -1", lambda: BALANCED([1, -1]), ValueError, r"counts: .*got -1 at index \(1,\)"),
    ("counts 0", lambda: BALANCED([0, 0]), ValueError, r"counts: .*zeros"),
    ("p above 1", lambda: BCE(X * 3, T), ValueError, r"input: .*\[0, 1\], got 1.5 at .*\(0,\)"),
    ("p below 0", lambda: PROBS(-P, Y), ValueError, r"input: .*got -0.25 at index \(0, 0\)"),
    ("infinite p", lambda: BCE(np.array([INF]), T[:1]), ValueError, r"input: .*got inf"),
    ("t above 1", lambda: BCE(X, T * 2), ValueError, r"target: .*got 2.0 at index \(0,\)"),
    ("t of focal", lambda: FOCAL(X, -T), ValueError, r"target: .*got -1.0 at index \(0,\)"),
    ("t of kl", lambda: KL(-X, -T), ValueError, r"target: .*>= 0, got -1.0 at index \(0,\)"),
]

OPTIONS: list[Case] = [
    ("reduction", lambda: CE(Z, Y, reduction="avg"), ValueError, r"reduction: .*'mean'.*'avg'"),
    ("case", lambda: MSE(X, T, "Mean"), ValueError, r"reduction: .*got 'Mean'"),
    ("batchmean", lambda: MSE(X, T, "batchmean"), ValueError, r"reduction: .*got 'batchmean'"),
    ("reduction None", lambda: MSE(X, T, None), ValueError, r"reduction: .*got None"),
    ("reduction a list", lambda: MSE(X, T, ["mean"]), ValueError, r"reduction: .*\['mean'\]"),
    ("backend", lambda: CE(Z, Y, backend="opencl"), ValueError, r"backend: .*'numba'.*'opencl'"),
    ("wrt unknown", lambda: CE.grad(Z, Y, wrt="weight"), ValueError, r"wrt: .*'input', got 'weig"),
    ("wrt labels", lambda: CE.grad(Z, Y, wrt="target"), ValueError, r"wrt: .*got 'target'"),
    ("wrt two", lambda: MSE.grad(X, T, wrt=("input", "x")), ValueError, r"wrt: .*got 'x'"),
    ("delta text", lambda: HUBER(X, T, delta="1"), TypeError, r"delta: .*got '1'"),
    ("delta an array", lambda: HUBER(X, T, delta=X), TypeError, r"delta: .*number"),
    ("delta None", lambda: HUBER(X, T, delta=None), TypeError, r"delta: .*got None"),
    ("delta bool", lambda: HUBER(X, T, delta=True), TypeError, r"delta: .*got True"),
    ("delta complex", lambda: HUBER(X, T, delta=1j), TypeError, r"delta: .*got 1j"),
    ("ignore_index", lambda: CE(Z, Y, ignore_index=1.5), TypeError, r"ignore_index: .*got 1.5"),
    ("ignore_index None", lambda: NLL(Z, Y, None, None), TypeError, r"ignore_index: .*got None"),
    ("alpha list", lambda: FOCAL(X, T, [0.25]), TypeError, r"alpha: .*number.*\[0.25\]"),
    ("unknown argument", lambda: MSE(X, T, reduce=True), TypeError, r"reduce"),
    ("missing argument", lambda: MSE(X), TypeError, r"target"),
    ("threads", lambda: refloss.set_num_threads(0), ValueError, r"count: .*got 0"),
]

TABLE = SHAPES + LABELS + DTYPES + RANGES + OPTIONS + EMBEDDINGS


@pytest.mark.parametrize(
    ("call", "error", "message"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE]
)
def test_bad_input_is_refused(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_names_in_the_table_are_unique() -> None:
    names = [case[0] for case in TABLE]
    assert len(names) == len(set(names))


@EVERY
@pytest.mark.parametrize(
    "wrong", [None, object(), "x", {}, set(), 1j, np.array([1j]), np.array(["x"]), [[1.0], []]]
)
def test_every_array_argument_of_every_loss_is_checked(entry: Entry, wrong: Any) -> None:
    """The error names the argument that is wrong, not one that is right."""
    arrays = entry.sample(1)
    for name in arrays:
        if wrong is None and name in ("weight", "pos_weight", "negative_keys"):
            continue
        with pytest.raises((TypeError, ValueError), match=rf"^{name}: "):
            entry.function(**{**arrays, name: wrong}, **entry.options)


@EVERY
def test_every_method_refuses_alike(entry: Entry) -> None:
    arrays = {**entry.sample(1), entry.first: np.zeros((2, 2), int)}
    said = set()
    curved = ("hessian_diag", "grad_and_hessian_diag") if entry.curved else ()
    for method in ("__call__", "value_and_grad", "grad", *curved):
        with pytest.raises(TypeError, match=rf"^{entry.first}: ") as caught:
            getattr(entry.function, method)(**arrays, **entry.options)
        said.add(str(caught.value))
    assert len(said) == 1


@pytest.mark.parametrize(
    ("label", "dtype"),
    [(2, "i1"), (2, "u1"), (2, "i2"), (2, "u2"), (2, "i4"), (2, "u4"), (2, "i8"), (2, "u8")],
)
def test_labels_of_every_integer_type_are_labels(label: int, dtype: str) -> None:
    labels = np.array([label, 0], dtype)
    assert CE(Z, labels) == CE(Z, [label, 0])


def test_lists_and_numbers_are_arrays() -> None:
    assert CE(Z.tolist(), Y.tolist()) == CE(Z, Y)
    assert CE(Z.tolist(), P.tolist()) == CE(Z, P)
    assert MSE(1.5, 1.0) == MSE(np.array(1.5), np.array(1.0))
    assert CE(Z, Y, [1.0, 2.0, 3.0]) == CE(Z, Y, np.array([1.0, 2.0, 3.0]))
    assert CE(Z, Y, [1, 2, 3]) == CE(Z, Y, np.array([1.0, 2.0, 3.0]))
    assert MSE.grad(1.5, 1.0, grad_output=2) == 2 * MSE.grad(1.5, 1.0)
    assert HUBER(X, T, delta=np.float32(0.5)) == HUBER(X, T, delta=0.5)
    assert HUBER(X, T, delta=1) == HUBER(X, T, delta=1.0)


def test_a_list_takes_the_format_of_the_input() -> None:
    assert MSE(X.astype(np.float32), T.tolist()).dtype == np.float32


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
def test_nan_is_no_bad_input_and_no_warning(dtype: Any) -> None:
    """Not in a probability, nor in a weight; its comparison with a bound is false."""
    x = np.array([NAN, 0.5], dtype)
    assert np.isnan(BCE(x, x, x))
    assert np.isnan(MSE(x, x, weight=x))
    assert np.isnan(KL(x, x))
    assert np.isnan(PROBS(x, 0))
    assert np.isnan(FOCAL(x, x))
    assert np.isnan(CE(x, 0, x))
    assert np.isnan(FROM_DISTANCE(x, x))
    assert np.isnan(HINGE(x, np.array([1, NAN], dtype)))
    assert np.isnan(COSINE(x, x, 1))
    assert np.isnan(SUP_CON(x[:, None], [0, 0]))
