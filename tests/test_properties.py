"""Properties that hold for every input, tested with Hypothesis (the same examples on every run)."""

import math
import string

import numpy as np
import pytest
import torch
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from condgen import preflight
from condgen.base import files, intervals, params
from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.evaluation import metrics
from specs import DIGITS

SOME, FEW = settings(max_examples=100), settings(max_examples=25)
NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DTYPES = st.sampled_from(["u1", "i8", "f4", "f8", "?", "U5"])


@pytest.fixture(scope="module", autouse=True)
def _denormals():
    """Some examples are denormal, and an earlier test's stage may have set this process to flush them."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def or_refused(name, call, *arguments):
    """What a reader returns, or None if it refuses in one line that names the file."""
    try:
        return call(*arguments)
    except UserError as error:
        said = str(error)
    assert name in said
    assert len(said.splitlines()) == 1
    return None


@st.composite
def damaged(draw, content):
    """`content` with some bytes changed, cut off or added."""
    found = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        found[draw(st.integers(0, len(found) - 1))] = draw(st.integers(0, 255))
    return bytes(found[: draw(st.integers(0, len(found)))] + draw(st.binary(max_size=8)))


# Our own files


@given(st.dictionaries(NAMES, hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0)), min_size=1))
def test_arrays_round_trip_through_npz(folder, arrays):
    assume("path" not in arrays)  # write_npz has an argument of this name
    files.write_npz(folder / "a.npz", **arrays)
    for name, found in zip(arrays, files.read_npz(folder / "a.npz", *arrays), strict=True):
        assert found.dtype == arrays[name].dtype
        assert found.shape == arrays[name].shape
        assert found.tobytes() == arrays[name].tobytes()


@pytest.fixture(scope="module")
def small(folder):
    """Name -> bytes of a small file of each kind."""
    files.write_npz(folder / "a.npz", x=np.arange(5))
    files.write_csv(folder / "a.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 1e-9}])
    files.write_model(folder, {"w": torch.arange(4.0).view(2, 2)}, {"hidden": 2, "model": "cvae"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


READERS = {
    "a.npz": lambda path: files.read_npz(path, "x"),
    "a.csv": lambda path: files.read_csv(path, "loss"),
    "model.safetensors": lambda path: files.read_model(path.parent),
    "config.json": files.read_json,
}


@pytest.mark.parametrize("name", READERS)
@given(draw=st.data())
@SOME
def test_any_bytes_are_read_or_refused(folder, small, name, draw):
    for other, content in small.items():
        (folder / other).write_bytes(content)
    (folder / name).write_bytes(draw.draw(st.binary() | damaged(small[name])))
    or_refused(name, READERS[name], folder / name)


@given(draw=st.data(), names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_rows_round_trip_through_csv(folder, draw, names):
    rows = draw.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, FINITE)), min_size=1, max_size=4))
    files.write_csv(folder / "a.csv", rows)
    assert files.read_csv(folder / "a.csv", *names) == rows


VALUES = st.booleans() | st.integers(-(2**53), 2**53) | FINITE | st.text(max_size=9) | st.none()


@given(
    st.dictionaries(
        NAMES, hnp.arrays(st.sampled_from(["f4", "f8", "i8", "u1"]), hnp.array_shapes(min_side=0))
    ),
    st.dictionaries(st.text(max_size=9), VALUES | st.lists(VALUES, max_size=3)),
)
def test_a_model_round_trips_through_its_files(folder, state, config):
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    files.write_model(folder, tensors, config)
    loaded, found = files.read_model(folder)
    assert found == config
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].numpy().tobytes() == tensor.numpy().tobytes()
        assert loaded[name].shape == tensor.shape


# Parameters


def sections():
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "check", lambda content, path, sections: found.extend(sections))
        preflight.check_params("params.yaml")
    return {section.section: section for section in found}


SECTIONS = sections()
WORD = st.text(string.printable.strip(), max_size=12)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORD | st.dates() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def nearly_right(draw, content):
    """The committed parameters with some keys removed, added or changed."""
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(SECTIONS)))
        section = content[name]
        if not isinstance(section, dict) or draw(st.integers(0, 9)) == 0:
            content[name] = draw(ANYTHING)
            continue
        key = draw(st.sampled_from([*sorted(section, key=str), "lr"]) | WORD)
        if draw(st.integers(0, 9)) == 0:
            section.pop(key, None)
        else:
            section[key] = draw(ANYTHING | st.integers(0, 99) | st.floats(0, 1))
    return content


@given(draw=st.data())
def test_any_parameters_are_valid_or_refused_and_valid_ones_round_trip(root, folder, draw):
    content = draw.draw(nearly_right(yaml.safe_load((root / "params.yaml").read_text())))
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    if or_refused(str(path), lambda: preflight.check_params(path) or True):
        name = draw.draw(st.sampled_from(sorted(SECTIONS)))
        valid = params.read(SECTIONS[name], path)
        again = folder / "again.yaml"
        again.write_text(yaml.safe_dump({name: valid.model_dump()}))
        assert params.read(SECTIONS[name], again) == valid
        assert valid.model_dump().keys() == content[name].keys()
        assert all(math.isfinite(v) for v in valid.model_dump().values() if isinstance(v, int | float))


@given(st.dictionaries(WORD, ANYTHING, max_size=3) | ANYTHING)
def test_content_without_the_sections_is_refused_in_one_line(folder, content):
    path = folder / "any.yaml"
    path.write_text(yaml.safe_dump(content))
    assert or_refused(str(path), preflight.check_params, path) is None


@given(st.floats(1e-300, 1, exclude_max=True))
@example(1e-05)
def test_a_number_is_read_in_either_notation(folder, rate):
    path = folder / "rate.yaml"
    for text in (repr(rate), f"{rate:e}"):
        path.write_text(
            f"classifier: {{seed: 0, epochs: 1, batch_size: 1, "
            f"lr: {text}, channels: 1, features: 1, dropout: 0.0, shift: 0}}"
        )
        assert params.read(SECTIONS["classifier"], path).lr == float(text)


# Intervals


@FEW
@given(hnp.arrays("f8", st.integers(1, 60), elements=st.floats(-1e6, 1e6)))
def test_an_interval_lies_evenly_around_its_mean(values):
    found = intervals.mean(values)
    assert found.n == len(values)
    assert found.value == pytest.approx(float(np.mean(values)))
    assert (found.low is None) == (found.high is None)
    if found.low is not None and np.ptp(values) > 0:
        rounding = 1e-12 * float(np.abs(values).max())
        assert found.low - rounding <= found.value <= found.high + rounding
        if not np.isin(values, (0, 1)).all():  # a share's is Wilson's
            assert found.value - found.low == pytest.approx(found.high - found.value, abs=1e-9 + rounding)


@FEW
@given(st.integers(2, 200), st.data())
def test_a_share_of_zeros_and_ones_stays_between_them(n, draw):
    hits = draw.draw(st.integers(0, n))
    found = intervals.share(hits / n, n)
    assert found.value == pytest.approx(hits / n)
    assert -1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12
    other = intervals.share(1 - hits / n, n)
    assert (other.low, other.high) == (
        pytest.approx(1 - found.high, abs=1e-9),
        pytest.approx(1 - found.low, abs=1e-9),
    )


@FEW
@given(
    hnp.arrays("f8", st.integers(2, 40), elements=st.floats(-100, 100)),
    st.floats(0.1, 10),
    st.floats(-10, 10),
)
def test_an_interval_shifts_and_scales_with_its_values(values, scale, shift):
    assume(np.ptp(values) > 1e-3 and not np.isin(values, (0, 1)).all())
    found, moved = intervals.mean(values), intervals.mean(scale * values + shift)
    assert moved.low == pytest.approx(scale * found.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(scale * found.high + shift, abs=1e-6)


# Metrics


@st.composite
def images(draw, most=4):
    """(x `[n, 784]` in [0, 1], labels `[n]`, a permutation), as many of each class."""
    count = draw(st.integers(2, most))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    labels = DIGITS.every_class(count)
    x = torch.rand(len(labels), DIGITS.pixels, generator=g) ** draw(st.integers(1, 4))
    return x, labels, torch.randperm(len(labels), generator=g)


@st.composite
def feature_sets(draw):
    """Two sets of features, `[n, f]` and `[m, f]`, float64."""
    f, g = draw(st.integers(2, 5)), torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    n, m = draw(st.integers(12, 40)), draw(st.integers(12, 40))
    shift, scale = draw(st.floats(-3, 3)), draw(st.floats(0.1, 3))
    a = torch.randn(n, f, generator=g, dtype=torch.float64)
    b = torch.randn(m, f, generator=g, dtype=torch.float64) * scale + shift
    return a, b, torch.randperm(n, generator=g)


@FEW
@given(feature_sets())
def test_the_frechet_distance_is_a_distance_of_sets(sets):
    a, b, order = sets
    distance = metrics.frechet_distance(a, b).value
    assert distance >= 0
    assert metrics.frechet_distance(a, a[order]).value == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(b, a).value == pytest.approx(distance, rel=1e-6, abs=1e-6)
    assert metrics.frechet_distance(a[order], b).value == pytest.approx(distance, rel=1e-6, abs=1e-6)
    # Moving both sets together changes nothing.
    assert metrics.frechet_distance(a + 5, b + 5).value == pytest.approx(distance, rel=1e-5, abs=1e-5)


@FEW
@given(feature_sets())
def test_neighbourhoods_are_shares_and_do_not_depend_on_the_order(sets):
    a, b, order = sets
    found = metrics.neighbourhoods(a, b)
    for name in ("precision", "recall", "coverage"):
        assert 0 <= found[name].value <= 1
    assert found["density"].value >= 0
    other = metrics.neighbourhoods(a[order], b)
    assert {k: v.value for k, v in other.items()} == pytest.approx({k: v.value for k, v in found.items()})
    # Precision one way is recall the other way.
    assert metrics.neighbourhoods(b, a)["recall"].value == pytest.approx(found["precision"].value)
    same = metrics.neighbourhoods(a, a)
    assert [same[name].value for name in ("precision", "recall", "coverage")] == [1, 1, 1]


@FEW
@given(feature_sets())
def test_the_kernel_distance_is_symmetric_in_sets_of_one_size(sets):
    a, b, order = sets
    n = min(len(a), len(b))
    distance = metrics.kernel_distance(a[:n], b[:n]).value
    assert metrics.kernel_distance(b[:n], a[:n]).value == pytest.approx(distance, rel=1e-6, abs=1e-9)
    order = order[order < n]
    assert metrics.kernel_distance(a[order], b[:n]).value == pytest.approx(distance, rel=1e-6, abs=1e-9)


@FEW
@given(images(), st.integers(0, 2**31))
def test_accuracy_and_confusion_count_the_same_images(drawn, seed):
    _, labels, order = drawn
    logits = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(seed))
    value, by_class = metrics.class_accuracy(logits, labels)
    table = np.array(metrics.confusion(logits, labels))
    assert table.sum() == len(labels)
    assert table.sum(axis=1).tolist() == torch.bincount(labels, minlength=10).tolist()
    assert value.value == pytest.approx(np.trace(table) / len(labels))
    assert by_class == pytest.approx((np.diag(table) / table.sum(axis=1)).tolist())
    assert metrics.class_accuracy(logits[order], labels[order])[1] == pytest.approx(by_class)
    assert metrics.confusion(logits[order], labels[order]) == table.tolist()
    assert metrics.class_accuracy(logits * 3 + 1, labels)[1] == by_class


@FEW
@given(images())
def test_the_vendi_score_counts_images(drawn):
    x, labels, order = drawn
    x = x[:, :8]  # the time is cubic in the dimension
    value, by_class = metrics.vendi_score(x, labels, 10)
    count = len(labels) // 10
    assert all(1 - 1e-9 <= score <= count + 1e-9 for score in by_class)
    assert value.value == pytest.approx(np.mean(by_class))
    assert metrics.vendi_score(x[order], labels[order], 10)[1] == pytest.approx(by_class)
    alike = x[labels.argsort(stable=True)][::count].repeat_interleave(count, 0)
    assert metrics.vendi_score(alike, labels, 10)[1] == pytest.approx([1] * 10)
    # Duplicates do not count.
    assert metrics.vendi_score(torch.cat([x, x]), torch.cat([labels, labels]), 10)[1] == pytest.approx(
        by_class
    )


@FEW
@given(images(), images())
def test_sharpness_ssim_and_nearest_images_of_a_set_with_itself(drawn, other):
    x, labels, order = drawn
    maps, others = DIGITS.maps(x), DIGITS.maps(other[0])
    assert metrics.sharpness(maps, maps).value == pytest.approx(1)
    assert metrics.sharpness(maps[order], others).value == pytest.approx(
        metrics.sharpness(maps, others).value
    )
    assert -1 <= metrics.pairwise_ssim(maps, labels).value <= 1
    count = len(labels) // 10
    alike = maps[::count].repeat_interleave(count, 0)
    assert metrics.pairwise_ssim(alike, labels).value == pytest.approx(1)
    rows, distances = metrics.nearest(x, x[order])
    assert torch.equal(order[rows], torch.arange(len(x)))
    assert torch.equal(distances, torch.zeros(len(x)))


@FEW
@given(images(), st.integers(2, 7), st.integers(0, 2**31))
def test_stability_of_constant_images_is_perfect(drawn, epochs, seed):
    x, labels, order = drawn
    still = metrics.stability(x.expand(epochs, *x.shape), labels.expand(epochs, -1), labels)
    assert {name: value.value for name, value in still.items()} == dict.fromkeys(still, 0)
    g = torch.Generator().manual_seed(seed)
    moving = torch.rand(epochs, *x.shape, generator=g)
    read = torch.randint(10, (epochs, len(labels)), generator=g)
    found = metrics.stability(moving, read, labels)
    assert all(0 <= value.value <= 1 for value in found.values())
    other = metrics.stability(moving[:, order], read[:, order], labels[order])
    assert {k: v.value for k, v in other.items()} == pytest.approx({k: v.value for k, v in found.items()})


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.lists(st.integers(0, 5), min_size=10, max_size=10),
)
def test_the_first_of_each_class_are_as_many_as_asked_for_and_keep_their_labels(labels, counts):
    labels = torch.tensor(labels)
    rows = torch.arange(len(labels)).float()[:, None]
    found = metrics.first_of_each_class(data.Images(rows, labels), counts)
    present = torch.bincount(labels, minlength=10)
    assert torch.equal(torch.bincount(found.y, minlength=10), torch.tensor(counts).minimum(present))
    assert torch.equal(labels[found.x[:, 0].long()], found.y)
    assert all(labels[int(row)] == label for row, label in zip(found.x[:, 0], found.y, strict=True))
