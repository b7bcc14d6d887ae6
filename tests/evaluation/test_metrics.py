"""Metrics have their expected values on known inputs, and agree with independent computations."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import linalg

from condgen.base.errors import UserError
from condgen.base.intervals import Value
from condgen.datasets import data
from condgen.evaluation import catalog, metrics
from specs import DIGITS


def logits_for(labels, strength=5.0):
    return torch.nn.functional.one_hot(labels, 10).float() * strength


def cluster(gen, n=600, d=16, scale=1.0, shift=0.0):
    return torch.randn(n, d, generator=gen) * scale + shift


def test_class_accuracy_is_one_for_right_labels_and_a_tenth_for_shuffled_labels(gen):
    labels = DIGITS.every_class(500)
    accuracy, by_class = metrics.class_accuracy(logits_for(labels), labels)
    assert accuracy.value == 1
    assert 0.99 < accuracy.low < 1
    assert by_class == [1.0] * 10
    shuffled = labels[torch.randperm(len(labels), generator=gen)]
    accuracy, _ = metrics.class_accuracy(logits_for(shuffled), labels)
    assert accuracy.value == pytest.approx(0.1, abs=0.02)
    assert accuracy.low < accuracy.value < accuracy.high


def test_class_accuracy_and_confusion_find_the_bad_class():
    labels = DIGITS.every_class(10)
    logits = logits_for(torch.where(labels == 3, 8, labels))
    accuracy, by_class = metrics.class_accuracy(logits, labels)
    assert accuracy.value == pytest.approx(0.9)
    assert by_class == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    confusion = np.array(metrics.confusion(logits, labels))
    assert confusion[3, 8] == 10
    assert confusion[3, 3] == 0
    assert confusion.sum() == 100


def test_distances_of_a_set_to_itself_are_zero(gen):
    x = cluster(gen)
    assert metrics.frechet_distance(x, x).value == pytest.approx(0, abs=1e-6)
    y = cluster(gen)
    assert abs(metrics.kernel_distance(x, y).value) < 0.05 * abs(metrics.kernel_distance(x, y + 1).value)


def test_the_frechet_distance_of_shifted_gaussians_is_the_squared_shift(gen):
    x = cluster(gen)
    shift = torch.zeros(16)
    shift[3] = 2
    assert metrics.frechet_distance(x + shift, x).value == pytest.approx(4, rel=1e-4)


def test_a_collapsed_set_is_far_even_with_the_right_mean(gen):
    x = cluster(gen, 2000)
    collapsed = x.mean(dim=0) + cluster(gen, 2000, scale=0.01)
    # tr(S) = 16 is what is left when one of the two covariances vanishes.
    assert metrics.frechet_distance(collapsed, x).value == pytest.approx(16, rel=0.1)


def test_the_frechet_distance_agrees_with_scipy(gen):
    x, y = cluster(gen, 800, 12), cluster(gen, 700, 12) @ cluster(gen, 12, 12) + 0.3
    a, b = x.double().numpy(), y.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(linalg.sqrtm(s1 @ s2))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert metrics.frechet_distance(x, y).value == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_exact_far_from_the_origin(gen):
    # In float32 the covariances of features around 3,000 would be lost in rounding.
    x, y = torch.randn(2, 800, 12, generator=gen, dtype=torch.float64)
    near = metrics.frechet_distance(x, 2 * y).value
    assert metrics.frechet_distance(x + 3000, 2 * y + 3000).value == pytest.approx(near, rel=1e-6)


def test_the_frechet_distance_works_with_singular_covariances(gen):
    x, y = cluster(gen, 300).relu(), cluster(gen, 300).relu()
    x[:, :8] = y[:, :8] = 0  # relu features that never fire make the covariance singular
    assert 0 <= metrics.frechet_distance(x, y).value < 1


def test_the_kernel_distance_agrees_with_a_loop_over_pairs(gen):
    x, y = cluster(gen, 40, 5), cluster(gen, 40, 5, shift=0.5)
    k = lambda a, b: float((a @ b / 5 + 1) ** 3)  # noqa: E731
    n = 40
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    xy = sum(k(x[i], y[j]) for i in range(n) for j in range(n)) / n**2
    value = metrics.kernel_distance(x, y)
    assert value.value == pytest.approx(xx + yy - 2 * xy, rel=1e-4)
    assert value.low is None, "one block has no spread"


def test_the_kernel_distance_has_an_interval_over_blocks(gen):
    x, y = cluster(gen, 6000, 4), cluster(gen, 6000, 4, shift=0.3)
    value = metrics.kernel_distance(x, y)
    assert value.n == 6
    assert 0 < value.low < value.value < value.high


def test_a_tight_cluster_inside_a_wide_one_is_precise_and_covers_little(gen):
    real, tight = cluster(gen), cluster(gen, scale=0.1)
    found = metrics.neighbourhoods(tight, real)
    assert found["precision"].value > 0.99
    assert found["recall"].value < 0.2
    assert found["coverage"].value < 0.5
    wide = metrics.neighbourhoods(cluster(gen, scale=3), real)
    assert wide["precision"].value < 0.2
    assert wide["recall"].value > 0.9


def test_two_draws_of_one_distribution_have_the_expected_density_and_coverage(gen):
    found = metrics.neighbourhoods(cluster(gen, 1000), cluster(gen, 1000))
    assert found["density"].value == pytest.approx(1, abs=0.1)
    assert found["coverage"].value > 0.9
    # E[coverage] approaches 1 - 1/2^k for equally many images (Naeem et al. 2020, lemma 2).
    assert found["coverage"].value == pytest.approx(1 - 0.5**metrics.NEAREST, abs=0.03)


def test_neighbourhoods_agree_with_a_plain_computation(gen):
    x, r, k = cluster(gen, 120, 6, shift=0.4), cluster(gen, 100, 6), metrics.NEAREST
    rr, xx, rx = torch.cdist(r, r), torch.cdist(x, x), torch.cdist(r, x)
    r_radius, x_radius = rr.sort(dim=1).values[:, k], xx.sort(dim=1).values[:, k]
    inside_real, inside_fake = rx < r_radius[:, None], rx < x_radius[None]
    found = metrics.neighbourhoods(x, r)
    assert found["precision"].value == pytest.approx(float(inside_real.any(dim=0).float().mean()))
    assert found["recall"].value == pytest.approx(float(inside_fake.any(dim=1).float().mean()))
    assert found["density"].value == pytest.approx(float(inside_real.float().sum(dim=0).mean() / k))
    assert found["coverage"].value == pytest.approx(float((rx.min(dim=1).values < r_radius).float().mean()))


def test_the_vendi_score_counts_different_images():
    labels = DIGITS.every_class(6)
    same = torch.ones(60, 32)
    assert metrics.vendi_score(same, labels, 10)[0].value == pytest.approx(1, abs=1e-6)
    different = torch.eye(6, 32).repeat(10, 1)
    value, by_class = metrics.vendi_score(different, labels, 10)
    assert value.value == pytest.approx(6)
    assert by_class == pytest.approx([6] * 10)
    two_kinds = torch.eye(2, 32).repeat_interleave(3, dim=0).repeat(10, 1)
    assert metrics.vendi_score(two_kinds, labels, 10)[0].value == pytest.approx(2)
    without = metrics.vendi_score(different[6:], labels[6:], 10)[1]
    assert without == pytest.approx([0] + [6] * 9), "a class without images has none that differ"


def test_the_vendi_score_agrees_with_the_similarity_matrix(gen):
    x = cluster(gen, 300, 8)
    labels = DIGITS.every_class(30)
    part = torch.nn.functional.normalize(x[:30].double(), dim=1)
    eigenvalues = torch.linalg.eigvalsh(part @ part.T / 30).clamp(min=1e-12)
    expected = float(torch.exp(-(eigenvalues * eigenvalues.log()).sum()))
    assert metrics.vendi_score(x, labels, 10)[1][0] == pytest.approx(expected, rel=1e-5)


def test_pairs_of_equal_images_have_ssim_one_and_unrelated_noise_little(gen):
    labels = DIGITS.every_class(20)
    same = torch.rand(10, 1, 28, 28, generator=gen).repeat_interleave(20, dim=0)
    assert metrics.pairwise_ssim(same, labels).value == pytest.approx(1, abs=1e-5)
    noise = metrics.pairwise_ssim(torch.rand(200, 1, 28, 28, generator=gen), labels)
    assert noise.value < 0.1
    assert noise.n == 100, "200 images are 100 disjoint pairs"


def test_ssim_is_taken_within_a_class(gen):
    # Every class has one picture: pairs within a class are equal, pairs across would not be.
    pictures = torch.rand(10, 1, 28, 28, generator=gen)
    labels = torch.randperm(200, generator=gen) % 10
    assert metrics.pairwise_ssim(pictures[labels], labels).value == pytest.approx(1, abs=1e-5)


def test_ssim_is_taken_of_the_interior_where_no_window_crosses_the_border(gen):
    maps = torch.rand(40, 1, 28, 28, generator=gen)
    labels = torch.arange(40) % 4
    ours = metrics.pairwise_ssim(maps, labels).value
    first, second = metrics._pairs(labels)
    expected = [
        published_ssim(maps[i, 0].numpy(), maps[j, 0].numpy())
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert ours == pytest.approx(np.mean(expected), abs=1e-5)


def published_ssim(a, b):
    """Wang et al. 2004: Gaussian weights of deviation 1.5 in an 11 x 11 window that lies within the image."""
    from scipy.signal import convolve2d

    row = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2
    near = lambda x: convolve2d(x.astype(np.float64), window, mode="valid")  # noqa: E731
    ma, mb = near(a), near(b)
    va, vb, cov = near(a * a) - ma**2, near(b * b) - mb**2, near(a * b) - ma * mb
    top = (2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2)
    return (top / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))).mean()


def test_sharpness_is_one_for_real_images_below_when_blurred_above_when_noisy(split, gen):
    x = DIGITS.maps(split.test.x[:500])
    assert metrics.sharpness(x, x).value == pytest.approx(1)
    blurred = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    assert metrics.sharpness(blurred, x).value < 0.5
    noisy = (x + 0.3 * torch.randn(x.shape, generator=gen)).clamp(0, 1)
    assert metrics.sharpness(noisy, x).value > 1.5


def test_sharpness_agrees_with_scipy(split):
    from scipy.ndimage import laplace

    x = split.test.x[:50]
    expected = [laplace(image.view(28, 28).double().numpy(), mode="constant").var(ddof=1) for image in x]
    value = metrics.sharpness(DIGITS.maps(x), DIGITS.maps(split.test.x[50:200]))
    below = [
        laplace(i.view(28, 28).double().numpy(), mode="constant").var(ddof=1) for i in split.test.x[50:200]
    ]
    assert value.value == pytest.approx(np.mean(expected) / np.mean(below), rel=1e-4)


def test_constant_pictures_are_stable_and_flickering_ones_are_not():
    still = torch.full((9, 20, 784), 0.5)
    read = torch.zeros(9, 20, dtype=torch.int64)
    found = metrics.stability(still, read, read[0])
    assert {value.value for value in found.values()} == {0}
    flicker = still.clone()
    flicker[::2] = 0.75
    read[::2] = 1
    found = metrics.stability(flicker, read, torch.zeros(20, dtype=torch.int64))
    assert found["picture_change"].value == pytest.approx(0.25)
    assert found["reading_change"].value == 1
    assert found["accuracy_change"].value == 1, "all right, all wrong, all right"
    assert found["accuracy_change"].low is None, "epochs follow from one another"


def test_accuracy_can_stay_constant_while_readings_change():
    read = torch.zeros(9, 2, dtype=torch.int64)
    read[::2, 0] = read[1::2, 1] = 1  # each epoch one of the two is right, in turn
    found = metrics.stability(torch.zeros(9, 2, 784), read, torch.tensor([1, 1]))
    assert found["reading_change"].value == 1
    assert (found["accuracy_change"].value, found["accuracy_change"].high) == (0, None)


def test_only_the_last_third_counts_for_stability(gen):
    images = torch.rand(30, 20, 784, generator=gen)
    images[20:] = 0.5
    read = torch.zeros(30, 20, dtype=torch.int64)
    assert metrics.stability(images, read, read[0])["picture_change"].value == 0
    images[19] = 0.5  # the step from epoch 20 to 21 is not in the last third
    assert metrics.stability(images, read, read[0])["picture_change"].value == 0
    images[25] = 0.6
    assert metrics.stability(images, read, read[0])["picture_change"].value == pytest.approx(
        2 * 0.1 / 9, rel=1e-4
    )


def test_the_nearest_image_is_found(gen):
    reference = torch.rand(50, 784, generator=gen)
    rows, distances = metrics.nearest(reference[[7, 3]] + 0.001, reference)
    assert rows.tolist() == [7, 3]
    assert float(distances.max()) == pytest.approx(0.001 * 28, rel=0.05)


def test_the_first_images_of_each_class_are_taken_as_many_as_there_are(split):
    some = metrics.first_of_each_class(split.train, [50] * 9 + [10_000])
    nines = int((split.train.y == 9).sum())
    assert torch.bincount(some.y).tolist() == [50] * 9 + [nines]
    assert torch.equal(some.x[350], split.train.x[split.train.y == 7][0])


def test_ssim_and_sharpness_take_small_images_in_colour(gen):
    x = torch.rand(12, 3, 8, 8, generator=gen)
    labels = torch.arange(12) % 3
    assert metrics.pairwise_ssim(x[:3][labels], labels).value == pytest.approx(1, abs=1e-5)
    assert metrics.pairwise_ssim(x, labels).value < 0.5
    assert metrics.sharpness(x, x).value == pytest.approx(1)
    grey = x.mean(dim=1, keepdim=True)
    assert metrics.sharpness(grey, x).value == pytest.approx(1), "the channels' mean is taken"


def test_a_class_with_one_image_has_no_pairs(gen):
    x, labels = torch.rand(3, 1, 28, 28, generator=gen), torch.arange(3)
    assert metrics.pairwise_ssim(x, labels) == Value(1.0, n=0)
    assert metrics.pairwise_distance(torch.rand(3, 5), labels) == Value(0.0, n=0)


def test_every_number_of_a_set_is_in_the_catalog(split, gen):
    drawn = metrics.first_of_each_class(split.train, [20] * 10)
    features = torch.randn(200, 8, generator=gen)
    values, by_class = metrics.measure_images(
        DIGITS, drawn, features, logits_for(drawn.y), split.test, features
    )
    described = {metric.key for metric in catalog.METRICS}
    assert set(values) < described
    elsewhere = {
        "gan_train",
        "parzen_log_likelihood",
        "recall_second",
        "coverage_second",
        "authenticity",
        *(m.key for m in catalog.METRICS if m.group in ("stability", "cost")),
    }
    assert described - set(values) == elsewhere
    assert len(by_class["class_accuracy_by_class"]) == 10


def test_distances_are_of_pairs_of_the_same_class():
    # Class c lies on a line, its images at 100 c and 100 c + 3.
    labels = torch.arange(10).repeat_interleave(4)
    features = torch.zeros(40, 3)
    features[:, 0] = 100 * labels + 3.0 * (torch.arange(40) % 2)
    value = metrics.pairwise_distance(features[1:], labels[1:])
    assert value.n == 9 * 2 + 1
    assert 0 <= value.value <= 3
    spread = metrics.pairwise_distance(2 * features[1:], labels[1:])
    assert spread.value == pytest.approx(2 * value.value)
    assert metrics.pairwise_distance(features[:1], labels[:1]).n == 0


def test_a_picture_of_another_class_adds_no_diversity_and_no_precision(split, gen):
    """Classes that do not vary, and one picture in four of another class: nothing within a class varies."""
    labels = DIGITS.every_class(8)
    read = torch.where(torch.arange(80) % 4 == 0, (labels + 1) % 10, labels)
    one_each = metrics.first_of_each_class(split.test, [1] * 10).x
    drawn = data.Images(one_each[read], labels)
    features = torch.eye(10, 12)[read] * 9
    real = torch.eye(10, 12)[split.test.y] * 9 + torch.randn(len(split.test), 12, generator=gen)
    real[split.test.y == 1] += 1000  # the class that zeros were mistaken for
    values, by_class = metrics.measure_images(DIGITS, drawn, features, logits_for(read), split.test, real)
    for key in ("vendi_features_as_asked", "vendi_pixels_as_asked", "pairwise_ssim_interior"):
        assert values[key].value == pytest.approx(1, abs=1e-5), key
    assert values["pairwise_distance"].value == pytest.approx(0, abs=1e-3)
    assert by_class["vendi_features_as_asked_by_class"] == pytest.approx([1] * 10)
    assert values["vendi_features_as_asked"].n == values["precision_as_asked"].n == 60
    # 8 ones and 2 misread zeros lie where no real image is; 6 of the ones were read as asked.
    assert values["precision"].value == pytest.approx(1 - 8 / 80)
    assert values["precision_as_asked"].value == pytest.approx(1 - 6 / 60)


def test_the_label_decides_all_of_a_picture_or_nothing_or_its_share_of_the_variance(gen):
    labels = torch.arange(2000) % 10
    per_class, noise = torch.randn(10, 30, generator=gen), torch.randn(2000, 30, generator=gen)
    assert metrics.label_share(per_class[labels], labels).value == pytest.approx(1)
    assert metrics.label_share(noise, labels).value == pytest.approx(0, abs=0.01)
    assert metrics.label_share(torch.ones(20, 3), labels[:20]).value == 0, "nothing is decided"
    alone = torch.cat([labels, torch.tensor([10, 11])])
    with_two = torch.cat([noise, 9 + torch.rand(2, noise.shape[1])])
    assert metrics.label_share(with_two, alone) == metrics.label_share(noise, labels), "one picture a class"
    assert metrics.label_share(noise[:10], torch.arange(10)).n == 0
    # Unbiased: with two images a class, a plain share of the squares would be about a half.
    few = [metrics.label_share(noise[i : i + 20], labels[i : i + 20]).value for i in range(0, 2000, 20)]
    assert np.mean(few) == pytest.approx(0, abs=0.03)
    x = per_class[labels] + 2 * noise
    found = metrics.label_share(x, labels)
    y = x.double()
    means = torch.stack([y[labels == c].mean(dim=0) for c in range(10)])
    within = (y - means[labels]).square().sum() / (2000 - 10)
    total = (y - y.mean(dim=0)).square().sum() / (2000 - 1)
    assert found.value == pytest.approx(float(1 - within / total), abs=1e-6)
    assert found.low < found.value < found.high


def test_an_untrained_model_that_is_never_read_as_asked_is_measured(split, gen):
    drawn = metrics.first_of_each_class(split.train, [8] * 10)
    features = torch.randn(80, 12, generator=gen)
    real = torch.randn(len(split.test), 12, generator=gen)
    values, _ = metrics.measure_images(
        DIGITS, drawn, features, logits_for((drawn.y + 1) % 10), split.test, real
    )
    assert values["vendi_features_as_asked"] == Value(0.0, n=0)
    assert values["precision_as_asked"] == Value(0.0, n=0)
    assert (values["pairwise_ssim_interior"].value, values["pairwise_distance"].value) == (1, 0)


def test_the_kinds_of_measures_can_disagree(split):
    """In pixels the drawn images are real ones; in features they have collapsed."""
    drawn = metrics.first_of_each_class(split.test, [40] * 10)
    real = torch.randn(len(split.test), 12, generator=torch.Generator().manual_seed(0))
    values, _ = metrics.measure_images(
        DIGITS, drawn, torch.zeros(400, 12), logits_for(drawn.y), split.test, real
    )
    assert values["coverage"].value < 0.05
    assert values["recall"].value < 0.05
    assert values["coverage_pixels"].value > 0.8
    assert values["recall_pixels"].value > 0.8


def test_another_classifier_may_see_what_the_judge_does_not(split):
    """The same images, in a space where the drawn ones are one point, and in one where they are real."""
    x, real = split.test.x[:400], split.test.x[400:900]
    apart = metrics.in_another_space(lambda at: at * (len(at) > 400) + (len(at) <= 400), x, real, "second")
    alike = metrics.in_another_space(lambda at: at, x, real, "second")
    assert apart["coverage_second"].value < 0.05
    assert alike["coverage_second"].value > 0.8
    assert alike["coverage_second"].n == 500


def test_k_and_n_stand_beside_what_depends_on_them():
    for metric in catalog.METRICS:
        if metric.key.startswith(("precision", "recall", "density", "coverage")):
            assert f"(k = {metrics.NEAREST})" in metric.name


def test_a_copy_is_not_authentic_and_a_new_image_is(gen):
    train = torch.randn(500, 8, generator=gen)
    new = torch.randn(400, 8, generator=gen)
    copies = train[:400] + 1e-3 * torch.randn(400, 8, generator=gen)
    assert metrics.authenticity(copies, train).value < 0.01
    honest = metrics.authenticity(new, train).value
    assert 0.4 < honest < 0.75, "as far from the training points as these are from one another"
    half = metrics.authenticity(torch.cat([copies[:200], new[:200]]), train).value
    assert half == pytest.approx(honest / 2, abs=0.06)


def test_authenticity_is_the_papers_definition_row_by_row(gen):
    train, samples = torch.randn(60, 4, generator=gen), torch.randn(40, 4, generator=gen)
    expected = []
    for sample in samples:
        distances = (train - sample).norm(dim=1)
        row = int(distances.argmin())
        others = torch.cat([train[:row], train[row + 1 :]])
        expected.append(bool(distances[row] > (others - train[row]).norm(dim=1).min()))
    assert metrics.authenticity(samples, train).value == pytest.approx(sum(expected) / 40)


def test_too_few_validation_images_to_choose_by_are_refused(split):
    few = dataclasses.replace(split, validation=data.Images(split.validation.x[:5], split.validation.y[:5]))
    with pytest.raises(UserError, match="there are 5 validation images, and must be 6 or more"):
        few.for_tuning()


def test_for_tuning_no_image_is_in_two_parts_and_test_images_are_not_looked_at(split):
    tuning = split.for_tuning()
    assert torch.equal(tuning.test.x, split.validation.x)
    assert len(tuning.train) + len(tuning.validation) == len(split.train)
    assert torch.equal(torch.cat([tuning.train.x, tuning.validation.x]), split.train.x)
    assert torch.equal(torch.cat([tuning.train.y, tuning.validation.y]), split.train.y)
