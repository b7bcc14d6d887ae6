"""The page: what it shows, how large it is, and how it behaves in a real browser."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_pictures import made_up_results

from browser import violations
from condgen.base import files, params
from condgen.datasets.data import Images
from condgen.datasets.spec import Spec
from condgen.models import MODELS
from condgen.reporting import charts, gallery, report
from condgen.sampling import latent
from specs import DIGITS

EPOCHS = {"cvae": 25, "cgan": 120}
MOST = 900_000  # bytes of the page of an article run, without what is played with
COLUMNS = {key: model for model, names in charts.PANELS.values() for key in names}


def images(spec, epochs=None, per_class=10, seed=0):
    """Blurred noise, about as hard to compress as digits are. Every epoch has its own."""
    g = torch.Generator().manual_seed(seed)
    labels = spec.every_class(per_class)
    n = len(labels) * (epochs or 1)
    coarse = torch.rand(n, spec.channels, 5, 5, generator=g) - 0.4
    x = torch.nn.functional.interpolate(coarse, spec.side, mode="bilinear").clamp(0, 1)
    x[..., 0] = x[..., -1] = x[..., 0, :] = x[..., -1, :] = 0
    x = x.flatten(1)
    return Images(x.view(epochs, len(labels), -1) if epochs else x, labels)


def pictures(spec, seed=0):
    found = {
        kind: spec.to_uint8(images(spec, None, n, seed).x)
        for kind, n in (("same_noise", 10), ("interpolation", 15))
    }
    grid = spec.to_uint8(images(spec, None, 64, seed).x)
    return found | {"manifold": grid.reshape(spec.count, 8, 8, *spec.shape)}


def made_up_gallery(tmp_path, spec=DIGITS, epochs=EPOCHS):
    spaces = {"cvae": pictures(spec), "cgan": pictures(spec, 1)}
    del spaces["cgan"]["manifold"]
    files.write_npz(tmp_path / "latent.npz", **latent.arrays(spaces, spec.count))
    sets = {name: images(spec, seed=i) for i, name in enumerate(("cvae", "cgan", "real"))}
    histories = {name: images(spec, last, 3, seed=last) for name, last in epochs.items()}
    few = spec.to_uint8(sets["real"].x[:40])
    return gallery.build(
        spec,
        sets,
        histories,
        gallery.read_latent(tmp_path / "latent.npz", spec),
        dict.fromkeys(MODELS, (few, few)),
    )


def curves(epochs=EPOCHS):
    return {
        name: [{"epoch": e} | {k: 1 / e + i for i, k in enumerate(k for k, m in COLUMNS.items() if m == name)}
               for e in range(1, last + 1)]
        for name, last in epochs.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    """The page of the committed results, with pictures of noise."""
    folder = tmp_path_factory.mktemp("page")
    results = json.loads((root / "docs/results/evaluate.json").read_text())
    settings = params.flat(root / "params.yaml")
    published = report.read_published(root / "data/published/best.json")
    shown = made_up_gallery(folder)
    report.html(folder / "report.html", results, shown, curves(), settings, published)
    return folder / "report.html"


def opened(page):
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    return page


def test_the_page_is_one_small_file(page):
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "http" not in text, "nothing is fetched from anywhere"
    assert "data:image/png;base64," in text
    assert 100_000 < len(text) < MOST


def test_the_same_run_gives_the_same_bytes(page, tmp_path, root):
    """So a cached result of DVC stays valid. What changes nothing that is shown does not change the page."""
    results = json.loads((root / "docs/results/evaluate.json").read_text())
    settings = params.flat(root / "params.yaml") | {"data.timeout": 7, "registry.champion": "recall"}
    published = report.read_published(root / "data/published/best.json")
    report.html(tmp_path / "r.html", results, made_up_gallery(tmp_path), curves(), settings, published)
    assert (tmp_path / "r.html").read_bytes() == page.read_bytes()


def test_the_answer_stands_before_the_claims_and_they_before_the_pictures(page):
    text = page.read_text()
    places = [
        text.index(part)
        for part in ("more often (99.9 % against 91.7 %)", "With each at its best", 'id="claims"',
                     'id="pictures"', 'id="film"', 'id="numbers"', "All numbers", "Seed 0.")
    ]  # fmt: skip
    assert places == sorted(places)


def test_the_footer_says_the_parameters(page, root):
    text = page.read_text()
    assert "CVAE: 25 epochs" in text
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    flat = params.flat(root / "params.yaml")
    expected = {key: params.as_text(flat[key]) for key in flat if report.shapes_results(key)}
    assert shown == expected


def test_the_best_is_shown_beside_other_runs_on_all_of_mnist_only(root):
    best = report.read_published(root / "data/published/best.json")
    article = json.loads((root / "docs/results/evaluate.json").read_text())
    assert report.comparable(article, best)
    assert not report.comparable(best, best), "it would stand beside itself"
    other_machine = json.loads(json.dumps(best))
    other_machine["cvae"]["class_accuracy"] -= 0.001
    assert not report.comparable(other_machine, best)
    assert not report.comparable(article | {"data": "KMNIST, all 70,000 images"}, best)
    assert not report.comparable(article | {"reference": "validation"}, best)
    assert report.read_published(root / "no/such.json") is None


def test_class_names_are_text_not_html(tmp_path):
    names = ("<b>1", "a&b", '"quoted"')
    spec = Spec(classes=names, side=8, channels=1)
    results = made_up_results(classes=list(names))
    report.html(tmp_path / "r.html", results, made_up_gallery(tmp_path, spec, {"cvae": 2, "cgan": 3}))
    text = (tmp_path / "r.html").read_text()
    assert "<b>1" not in text
    assert "&lt;b&gt;1" in text
    assert 'alt="CVAE: &#34;quoted&#34;"' in text


@pytest.mark.parametrize(("count", "side", "channels"), [(47, 28, 1), (100, 64, 3)])
def test_many_classes_keep_the_page_small(tmp_path, count, side, channels):
    spec = Spec(classes=tuple(f"class {i}" for i in range(count)), side=side, channels=channels)
    results = made_up_results(classes=list(spec.classes))
    shown = made_up_gallery(tmp_path, spec, {"cvae": 12, "cgan": 14})
    report.html(tmp_path / "r.html", results, shown)
    assert (tmp_path / "r.html").stat().st_size < 2 * MOST
    text = (tmp_path / "r.html").read_text()
    assert f"The other {count - gallery.ROWS} classes" in text
    assert f"Real images: class {count - 1}" in text


@pytest.mark.parametrize("lasts", [[25, 120], [1, 1], [1, 2], [300, 5], [1000, 1000]])
def test_the_film_shows_early_epochs_and_every_models_last(lasts):
    shown = gallery.epochs_shown(lasts)
    assert shown == sorted(set(shown))
    assert set(lasts) <= set(shown)
    assert shown[0] == 1
    assert len(shown) <= gallery.FRAMES + 1
    if max(lasts) > 2:
        assert sum(e <= max(lasts) / 3 for e in shown) >= len(shown) / 2, "most happens early"


def test_a_frame_of_the_film_is_the_history_at_that_epoch():
    """Epoch e is grey level 10 * e."""
    history = (
        np.full((5, 10, 3, 28, 28), 1, np.uint8)
        * (np.arange(1, 6, dtype=np.uint8) * 10)[:, None, None, None, None]
    )
    (reel,) = gallery.reels({"cvae": history}, 10)
    assert reel.epochs == [1, 2, 3, 4, 5]
    with Image.open(io.BytesIO(base64.b64decode(reel.sheet.partition(",")[2]))) as sheet:
        pixels = np.asarray(sheet.convert("L")).astype(int)
    wide, high = 28 * reel.shape[0], 28 * reel.shape[1]
    for i, epoch in enumerate(reel.epochs):
        y, x = i // reel.across * high + high // 2, i % reel.across * wide + wide // 2
        assert abs(pixels[y, x] - 10 * epoch) <= 3, epoch


def test_the_film_shows_every_class_though_its_last_row_is_not_full():
    """26 classes, each a grey level, in rows of six."""
    levels = 9 * np.arange(1, 27, dtype=np.uint8)
    history = np.ones((2, 26, 1, 28, 28), np.uint8) * levels[None, :, None, None, None]
    (reel,) = gallery.reels({"cvae": history}, 26)
    assert reel.shape == (6, 5)
    with Image.open(io.BytesIO(base64.b64decode(reel.sheet.partition(",")[2]))) as sheet:
        pixels = np.asarray(sheet.convert("L")).astype(int)
    shown = pixels[14 : 28 * 5 : 28, 14 : 28 * 6 : 28].flatten()
    assert np.abs(shown - [*levels, 0, 0, 0, 0]).max() <= 3


def test_the_table_has_the_wanted_epochs_and_each_models_last(page, root):
    wanted = params.flat(root / "params.yaml")["sample.table_epochs"]
    assert wanted == [1, 10, 25]
    heads = re.findall(r">(C\w+ \d+)</th>", page.read_text())
    assert heads == ["CVAE 1", "CVAE 10", "CVAE 25", "CGAN 1", "CGAN 10", "CGAN 25", "CGAN 120"]


def test_a_chart_is_drawn_within_its_frame():
    for chart in charts.charts(curves()):
        for line in chart.lines:
            points = [tuple(map(float, point.split(","))) for point in line.points.split()]
            assert len(points) == len(line.values) == chart.last
            assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in points)
            assert points[0][0] == chart.left
            assert points[-1][0] == pytest.approx(chart.right, abs=0.1)
    (first, *_) = charts.charts(curves({"cvae": 1, "cgan": 1}))
    assert first.last == 1


@pytest.mark.parametrize("width", [390, 800, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_and_anybody_can_use_it(page, visit, width, scheme):
    """`visit` fails if a page reports an error or asks for something from elsewhere."""
    shown = opened(visit(page, width, color_scheme=scheme))
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(one => !(one.complete && one.naturalWidth > 0)).length"
    assert shown.evaluate(broken) == 0
    red = shown.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0]
    assert (int(red) < 128) == (scheme == "dark")
    if width != 800:
        assert violations(shown) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_many_classes_fit_the_screen(tmp_path, visit, width):
    spec = Spec(classes=("x" * 100, *(f"a long name {i}" for i in range(46))), side=20, channels=3)
    epochs = {"cvae": 3, "cgan": 4}
    made = made_up_gallery(tmp_path, spec, epochs)
    report.html(tmp_path / "r.html", made_up_results(classes=list(spec.classes)), made, curves(epochs))
    shown = opened(visit(tmp_path / "r.html", width))
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    charts_wide = "document.querySelector('.chart svg').getBoundingClientRect().width"
    assert shown.evaluate(charts_wide) > 250, "the film leaves room for the curves"


def test_a_phone_shows_every_column_of_numbers_and_pictures(page, visit):
    shown = opened(visit(page, 390))
    outside = """[...document.querySelectorAll(".claims, .strips, .numbers:not(.by-class)")]
        .filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML)"""
    assert shown.evaluate(outside) == []
    small = """[...document.querySelectorAll(".strips img, .manifolds img")]
        .map(one => one.clientHeight / (one.closest(".manifolds") ? 8 : 1)).filter(h => h < 20).length"""
    assert shown.evaluate(small) == 0, "pictures are large enough to be seen"


def test_the_slider_moves_both_models_and_the_curves_to_the_same_epoch(page, visit):
    shown = visit(page)
    slider = shown.get_by_role("slider", name="Epoch")
    epochs = "[...document.querySelectorAll('.reel')].map(one => Number(one.dataset.epoch))"
    assert shown.evaluate(epochs) == [25, 120], "it starts with the final models"
    cursors = "[...document.querySelectorAll('.cursor')].map(one => Number(one.getAttribute('x1')))"
    last = shown.evaluate(cursors)
    before = shown.locator(".window img").nth(1).bounding_box()
    slider.focus()
    shown.keyboard.press("Home")
    assert shown.evaluate(epochs) == [1, 1]
    assert len(set(shown.evaluate(cursors))) == 1
    assert shown.locator(".window img").nth(1).bounding_box() != before, "another frame is seen"
    values = shown.locator(".value").all_inner_texts()
    assert values[:2] == ["1", "2"]
    shown.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epoch 2 of 120"
    assert shown.evaluate(epochs) == [2, 2]
    shown.keyboard.press("End")
    assert shown.evaluate(epochs) == [25, 120]
    assert shown.evaluate(cursors) == last
    assert "epoch 25, its last" in shown.locator(".reel").first.inner_text()


def test_the_film_plays_when_asked_and_stops(page, visit):
    shown = visit(page, reduced_motion="no-preference")
    shown.clock.install()
    slider = shown.get_by_role("slider", name="Epoch")
    assert slider.input_value() == slider.get_attribute("max"), "nothing moves by itself"
    button = shown.locator("#play")
    button.focus()
    shown.keyboard.press("Enter")
    shown.clock.run_for(650)
    assert slider.input_value() == "3"
    shown.get_by_role("button", name="Pause").click()
    shown.clock.run_for(1000)
    assert slider.input_value() == "3"
    shown.get_by_role("button", name="Play").click()
    shown.clock.run_for(60_000)
    assert slider.input_value() == slider.get_attribute("max")
    assert button.inner_text() == "Play", "it stops at the end"


def test_who_wants_less_motion_gets_a_slide_show(page, visit):
    shown = visit(page, reduced_motion="reduce")
    shown.clock.install()
    shown.get_by_role("button", name="Play").click()
    shown.clock.run_for(900)
    assert shown.get_by_role("slider", name="Epoch").input_value() == "0"
    shown.clock.run_for(200)
    assert shown.get_by_role("slider", name="Epoch").input_value() == "1"


def test_without_scripts_the_final_models_are_shown(page, visit):
    shown = visit(page, java_script_enabled=False)
    assert not shown.get_by_role("button", name="Play").is_visible()
    for reel, last in zip(shown.locator(".reel").all(), (25, 120), strict=True):
        assert f"epoch {last}" in reel.inner_text()
        window, sheet = reel.locator(".window").bounding_box(), reel.locator("img").bounding_box()
        epochs = reel.get_attribute("data-epochs").split()
        i, across = len(epochs) - 1, int(reel.get_attribute("data-across"))
        assert sheet["x"] == pytest.approx(window["x"] - i % across * window["width"], abs=1)
        assert sheet["y"] == pytest.approx(window["y"] - i // across * window["height"], abs=1)


def test_print_shows_what_is_folded(page, visit):
    shown = visit(page)
    hidden = "document.querySelectorAll('details:not([open])').length"
    assert shown.evaluate(hidden) > 5
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.evaluate(hidden) == 0
    shown.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.evaluate(hidden) > 5
    shown.emulate_media(media="print")
    part = shown.get_by_text("Images measured:").first
    assert part.bounding_box()["height"] > 20, "also without a script"
