"""The page of `dvc plots show` without a network: its curves are drawn by the page itself."""

import shutil
import subprocess
import sys

import pytest

from condgen.base import files, params

CURVES = {
    "cvae": ["train_loss", "val_loss", "train_reconstruction", "val_reconstruction", "train_kl", "val_kl"],
    "cgan": ["d_loss", "g_loss", "d_real", "d_fake"],
    "classifier": ["val_accuracy"],
}


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    """What `dvc plots show` makes of the curves of dvc.yaml, with the template of this repository."""
    folder = tmp_path_factory.mktemp("plots")
    (folder / ".dvc").mkdir()
    shutil.copytree(root / ".dvc/plots", folder / ".dvc/plots")
    config = (root / ".dvc/config").read_text()
    (folder / ".dvc/config").write_text(config.replace("[core]", "[core]\n    no_scm = true"))
    curves = [entry for entry in params.load(root / "dvc.yaml")["plots"] if isinstance(entry, dict)]
    files.write_json(folder / "dvc.yaml", {"plots": curves})  # JSON is YAML
    for name, columns in CURVES.items():
        rows = [{"epoch": epoch} | dict.fromkeys(columns, 1 / epoch) for epoch in (1, 2, 3)]
        files.write_csv(folder / f"data/plots/{name}.csv", rows)
    by_class = [{"class": name, "cvae": 0.5, "cgan": 0.25, "real": 1.0} for name in ("bag", "coat")]
    files.write_csv(folder / "data/plots/accuracy_by_class.csv", by_class)
    subprocess.run(
        [sys.executable, "-m", "dvc", "plots", "show"], cwd=folder, check=True, capture_output=True
    )
    return folder / "dvc_plots/index.html"


def test_curves_are_drawn_without_a_network_with_the_names_of_their_axes(page, browser):
    context = browser.new_context(offline=True)
    wrong, opened = [], context.new_page()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(page.as_uri())
    assert opened.locator("svg").count() == 7
    assert opened.locator("svg polyline").count() == sum(map(len, CURVES.values()))
    assert opened.locator("svg circle").count() == 2 * 3, "two classes of three sets, which no line connects"
    first = opened.locator("svg").first
    assert "nats per image" in first.text_content()
    assert "train_loss" in first.text_content()
    assert "coat" in opened.locator("svg").last.text_content(), "classes have their names"
    drawn = first.locator("polyline").first.bounding_box()
    assert drawn["width"] > 250
    assert drawn["height"] > 250
    assert not wrong
    context.close()


def test_with_a_network_vega_draws(page):
    """The page's own lines stand in only where Vega could not be loaded."""
    text = page.read_text()
    assert text.index("vega-embed") < text.index("window.vegaEmbed ??= ") < text.index("<body>")
