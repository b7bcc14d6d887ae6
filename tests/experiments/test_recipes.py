"""Recipes are sets of parameters that params.yaml takes, and the ladder ends at the best one."""

import csv
import io
from itertools import pairwise

import pytest
from pandas import DataFrame

from condgen.base import params
from condgen.base.errors import UserError
from condgen.experiments import climb, recipes
from condgen.reporting import figures


@pytest.fixture
def checkout_(root, tmp_path, monkeypatch):
    """A folder with this checkout's params.yaml and recipes, to be changed."""
    (tmp_path / "recipes").mkdir()
    for file in ("params.yaml", *(f"recipes/{name}.yaml" for name in ("best", "ladder"))):
        (tmp_path / file).write_text((root / file).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_last_rung_of_each_model_is_the_best_recipe(root, monkeypatch):
    monkeypatch.chdir(root)
    last = {key: value for rungs in recipes.ladder().values() for key, value in rungs[-1].values.items()}
    assert last == recipes.read("best")


def test_the_first_rung_is_the_articles_recipe_and_each_rung_changes_something(root, monkeypatch):
    monkeypatch.chdir(root)
    for rungs in recipes.ladder().values():
        assert rungs[0].values == {}
        for below, above in pairwise(rungs):
            assert above.values != below.values
            assert set(below.values) <= set(above.values)


def test_a_recipe_names_only_what_differs_from_the_articles(root, monkeypatch):
    monkeypatch.chdir(root)
    article = params.flat()
    for name, value in recipes.read("best").items():
        assert article[name] != value, name


def test_the_experiments_of_a_ladder_hold_a_rung_of_each_model_and_share_the_last_ones():
    rung = recipes.Rung
    rungs = {"cvae": [rung("a", {}), rung("b", {"cvae.layers": 2})], "cgan": [rung("a", {})]}
    rungs["cgan"] += [rung("b", {"cgan.lr": 0.1}), rung("c", {"cgan.lr": 0.1, "cgan.loss": "hinge"})]
    assert recipes.experiments(rungs) == {
        "ladder-0": {},
        "ladder-1": {"cvae.layers": 2, "cgan.lr": 0.1},
        "ladder-2": {"cvae.layers": 2, "cgan.lr": 0.1, "cgan.loss": "hinge"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cvae: {layerz: 2}", "recipes/best.yaml: cvae.layerz is no parameter of params.yaml"),
        ("cvaes: {layers: 2}", "recipes/best.yaml: cvaes.layers is no parameter of params.yaml"),
        ("cvae: {layers: 0}", "recipes/best.yaml: cvae.layers is 0, but must be a whole number in [1, 64]"),
        ("cgan: {network: conv}", "cgan.dropout is 0.5, but must be 0 with cgan.network conv"),
        ("- 1", "recipes/best.yaml holds"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_before_any_work(checkout_, text, said):
    (checkout_ / "recipes/best.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        recipes.read("best")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["cvae: [{idea: a}]", "cvae: [{idea: a, set: 1}]", "cvae: [3]"])
def test_a_ladder_without_ideas_is_refused(checkout_, text):
    (checkout_ / "recipes/ladder.yaml").write_text(text)
    with pytest.raises(UserError, match=r"cvae\[0\] must have the keys idea and set, and no others"):
        recipes.ladder()


@pytest.mark.parametrize("text", ["cvae: 3", "cvae: []", "cvae: {idea: a}"])
def test_a_ladder_without_rungs_is_refused(checkout_, text):
    (checkout_ / "recipes/ladder.yaml").write_text(text)
    with pytest.raises(UserError, match="cvae must be a list of one or more rungs"):
        recipes.ladder()


def test_without_the_folder_of_recipes_the_reason_is_said(checkout_, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="recipes/ is missing: run from a checkout of condgen"):
        recipes.read("best")


def test_an_unknown_recipe_is_refused_with_those_there_are(checkout_):
    with pytest.raises(UserError, match="there is no recipe besst: recipes has best, ladder"):
        recipes.read("besst")


def test_what_is_set_beside_a_recipe_is_checked_too(checkout_):
    assert recipes.given(["seed=1", "cvae.prior=class"]) == {"seed": 1, "cvae.prior": "class"}
    for word, said in [("seed", "must be KEY=VALUE"), ("cvae.prior=x", "must be one of normal, class, flow")]:
        with pytest.raises(UserError, match=said):
            recipes.given([word])


def test_an_experiment_is_run_beside_the_workspace_and_replaces_one_of_its_name(
    checkout_, monkeypatch, capfd
):
    called = []

    class Done:
        returncode = 0

    def run(words, **_):
        called.append(words)
        return Done

    monkeypatch.setattr(recipes.subprocess, "run", run)
    recipes.run("best", {"cvae.prior": "flow", "cgan.spectral_norm": True}, "--temp")
    sets = ["-S", "cvae.prior=flow", "-S", "cgan.spectral_norm=true"]
    assert called == [
        ["dvc", "exp", "remove", "--quiet", "best"],
        ["dvc", "exp", "run", "--temp", "-n", "best", *sets],
    ]
    assert "dvc exp run --temp -n best -S cvae.prior=flow" in capfd.readouterr().out
    Done.returncode = 3
    with pytest.raises(UserError, match="'dvc exp run --temp' ended with status 3"):
        recipes.run("best", {}, "--temp")


def test_without_dvc_the_reason_is_said(checkout_, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="dvc is not installed"):
        recipes.run_queue()


def runs_of(root, **changes):
    """A finished run with the parameters of params.yaml, some of them changed, as MLflow shows it."""
    values = {key: str(value) for key, value in params.flat(root / "params.yaml").items()}
    values |= {key: str(value) for key, value in changes.pop("params", {}).items()}
    row = {f"params.{key}": value for key, value in values.items()}
    return row | {"tags.code": "c", "tags.data": "d"} | {f"metrics.{k}": v for k, v in changes.items()}


def test_a_rung_is_found_by_its_own_models_parameters_and_averaged_over_seeds(root, monkeypatch, tmp_path):
    monkeypatch.chdir(root)
    rung = recipes.Rung
    rungs = {
        "cvae": [rung("article", {}), rung("two layers", {"cvae.layers": 2})],
        "cgan": [rung("none", {})],
    }
    runs = [
        # The same seed twice: the later counts, but has no time, because DVC had its training.
        runs_of(root, **{"cvae.recall": 0.9, "cvae.train_seconds": 60.0, "cgan.recall": 0.1}),
        runs_of(root, **{"cvae.recall": 0.1, "cgan.recall": 0.5}),
        # Another seed, and another CGAN: for the CVAE's rung it is a second run of it.
        runs_of(root, params={"seed": 1, "cgan.lr": 0.5}, **{"cvae.recall": 0.3, "cgan.recall": 0.9}),
        runs_of(root, params={"cvae.layers": 2}, **{"cvae.recall": 0.8, "cgan.recall": 0.5}),
        # Measured on validation images: no rung of this ladder.
        runs_of(
            root, params={"evaluate.reference": "validation"}, **{"cvae.recall": 0.0, "cgan.recall": 0.0}
        ),
    ]
    found = climb.measured(rungs, DataFrame(runs))
    article, two, gan = found
    assert (article.seeds, article.values["recall"]) == (2, pytest.approx(0.2))
    assert article.values["train_seconds"] == 60
    assert article.spreads == {"recall": pytest.approx(0.2 / 2**0.5)}
    assert (two.seeds, two.values["recall"]) == (1, 0.8)
    assert (gan.seeds, gan.values["recall"], gan.spreads) == (1, 0.5, {})
    text = climb.text(found)
    assert text.splitlines()[1].split()[:3] == ["cvae", "0", "2"]
    assert text.splitlines()[2].endswith("two layers")
    (first, *_) = csv.DictReader(io.StringIO(climb.as_csv(found)))
    assert [first[key] for key in ("model", "rung", "seeds", "idea")] == ["cvae", "0", "2", "article"]
    assert (float(first["recall"]), first["coverage"]) == (pytest.approx(0.2), "")
    assert float(first["recall_sd"]) == pytest.approx(0.2 / 2**0.5)
    validated = climb.measured(rungs, DataFrame(runs), {"evaluate.reference": "validation"})
    assert [(rung.seeds, rung.values.get("recall")) for rung in validated] == [(1, 0.0), (0, None), (1, 0.0)]
    figures.ladder(tmp_path / "ladder.png", found)
    assert (tmp_path / "ladder.png").stat().st_size > 5000


def test_only_runs_of_the_latest_code_count_and_a_rung_without_runs_is_empty(root, monkeypatch):
    monkeypatch.chdir(root)
    rungs = {"cvae": [recipes.Rung("article", {}), recipes.Rung("two layers", {"cvae.layers": 2})]}
    old = runs_of(root, **{"cvae.recall": 0.1}) | {"tags.code": "older"}
    found = climb.measured(rungs, DataFrame([old, runs_of(root, **{"cvae.recall": 0.4})]))
    assert (found[0].seeds, found[0].values["recall"]) == (1, 0.4)
    assert (found[1].seeds, found[1].values) == (0, {})
    assert "–" in climb.text(found)
    new, unknown = runs_of(root, **{"cvae.recall": 0.4}), runs_of(root, **{"cvae.recall": 0.6})
    found = climb.measured(rungs, DataFrame([new | {"tags.data.md5": "aaaa"}, unknown]))
    assert found[0].values["recall"] == 0.6, "whose images nobody knows"
    whole = climb.with_values(DataFrame([new | {"params.cvae.kl_weight": "1.0"}]), {"cvae.kl_weight": 1})
    assert len(whole) == 1
