"""What a sweep tries follows from its file, and a mistake in it is one line before anything runs."""

import math
import os
import random
import shutil
import subprocess
import types

import pytest

from condgen.base.errors import UserError
from condgen.experiments import recipes
from condgen.sweeps import plan, search

GRID = """
vary:
  cgan.lr: [0.001, 0.002]
  cgan.loss: [hinge, min-max]
seeds: [3, 4]
metric: cgan.frechet_distance
direction: min
"""
RANDOM = """
vary:
  cgan.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  cgan.epochs: {low: 1, high: 3, whole: true}
  cgan.beta1: [0.0, 0.5]
search: random
trials: 200
metric: cgan.frechet_distance
direction: min
"""


@pytest.fixture
def checkout(tmp_path, root, monkeypatch):
    shutil.copy(root / "params.yaml", tmp_path)
    shutil.copy(root / "dvc.yaml", tmp_path)
    shutil.copytree(root / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(checkout, text):
    path = checkout / "lr.yaml"
    path.write_text(text)
    return plan.read(path), path


def test_a_grid_is_every_combination_with_every_seed_once(checkout):
    found = plan.settings(*read(checkout, GRID))
    assert len(found) == 8
    assert {(v["cgan.lr"], v["cgan.loss"], v["seed"]) for v in found} == {
        (lr, loss, seed) for lr in (0.001, 0.002) for loss in ("hinge", "min-max") for seed in (3, 4)
    }


def test_two_trials_with_the_same_values_are_one(checkout):
    sweep, path = read(checkout, GRID.replace("[0.001, 0.002]", "[0.001, 0.001]"))
    assert len(plan.settings(sweep, path)) == 4
    a, b = {"cgan.r1": 1.0, "seed": 1}, {"seed": 1, "cgan.r1": 1}
    assert search.name_of("lr", a) == search.name_of("lr", b) != search.name_of("lr", a | {"seed": 2})


def test_a_search_measures_on_validation_images_unless_the_file_says_otherwise(checkout):
    assert {v["evaluate.reference"] for v in plan.settings(*read(checkout, GRID))} == {"validation"}
    other = GRID + "fixed: {evaluate.reference: test}\n"
    assert {v["evaluate.reference"] for v in plan.settings(*read(checkout, other))} == {"test"}


def test_random_settings_fill_their_ranges_and_are_the_same_again(checkout):
    sweep, path = read(checkout, RANDOM)
    found = plan.settings(sweep, path)
    assert len(found) == 200
    rates = [v["cgan.lr"] for v in found]
    assert 1e-4 <= min(rates) < 2e-4
    assert 5e-3 < max(rates) <= 1e-2
    assert 60 < sum(rate < 1e-3 for rate in rates) < 140, "as many in each tenfold"
    assert {v["cgan.epochs"] for v in found} == {1, 2, 3}
    assert {v["cgan.beta1"] for v in found} == {0.0, 0.5}
    assert plan.settings(sweep, path) == found
    another = plan.settings(*read(checkout, RANDOM + "search_seed: 1\n"))
    assert another != found


@pytest.mark.parametrize("log", [False, True])
def test_a_range_draws_inside_itself_whatever_is_rounded(log):
    found = plan.Range(low=0.123456, high=0.123457, log=log)
    noise = random.Random(0)
    assert all(math.isclose(found.draw(noise), 0.1235, abs_tol=1e-4) for _ in range(100))


def test_the_ladder_is_every_rung_with_every_seed(checkout):
    text = "ladder: true\nseeds: [0, 1]\nmetric: cgan.recall\ndirection: max\n"
    sweep, path = read(checkout, text)
    found = plan.settings(sweep, path)
    rungs = len(recipes.experiments(recipes.ladder()))
    assert len(found) == 2 * rungs
    assert found[-1]["cvae.kl_weight"] == recipes.read("best")["cvae.kl_weight"]
    assert "cvae.kl_weight" not in found[0]
    assert f"{2 * rungs} trials" in plan.listed(sweep, path)
    short = plan.settings(*read(checkout, text + "fixed: {cgan.epochs: 3}\n"))
    assert {v["cgan.epochs"] for v in short} == {3}, "what is fixed wins: the last rungs set it, too"


def test_a_recipe_is_what_every_trial_sets(checkout):
    found = plan.settings(*read(checkout, "recipe: best\n" + GRID))
    assert all(v["cgan.network"] == "conv" for v in found)
    assert {v["cgan.lr"] for v in found} == {0.001, 0.002}, "what is varied wins"


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("[0.001, 0.002]", "[0.001, 2]", "cgan.lr is 2, but must be a number in (0, 1]"),
        ("[0.001, 0.002]", "0.001", "vary.cgan.lr must be a list of one or more values, or a range"),
        ("[0.001, 0.002]", "[]", "vary.cgan.lr must be a list of one or more values, or a range"),
        ("[0.001, 0.002]", "{low: 0.1, high: 0.2}", "is a range, which needs search: random or tpe"),
        ("cgan.lr", "cgan.rate", "cgan.rate is no parameter of params.yaml"),
        ("seeds: [3, 4]", "seeds: []", "seeds is [], but must be a list of whole numbers"),
        ("seeds: [3, 4]", "search: tpe", "trials is missing: search: tpe needs their number"),
        ("seeds: [3, 4]", "trials: 4", "trials must be left out with search: grid"),
        ("seeds: [3, 4]", "seeds: [3]\nfixed: {seed: 1}", "seed is set twice"),
        ("seeds: [3, 4]", "fixed: {cgan.lr: 0.1}", "cgan.lr is set twice"),
        ("seeds: [3, 4]", "seeds: [3]\nsearch: tpe\ntrials: 3", "search: tpe needs one seed and no ladder"),
        ("seeds: [3, 4]", "recipe: worst", "there is no recipe worst"),
        ("seeds: [3, 4]", "stop: {number: train_cvae.val_loss, grace: 2}", "stop: direction is missing"),
        (
            "seeds: [3, 4]",
            "stop: 5",
            "stop is 5, but must be a section with number, direction, grace, factor",
        ),
        (
            "seeds: [3, 4]",
            "stop: {number: train_vae.val_loss, direction: min, grace: 2}",
            "stop.number is train_vae.val_loss, but must begin with one of download, train_classifier",
        ),
        ("metric:", "metrik:", "metric is missing, and metrik is unknown"),
        ("direction: min", "direction: least", "direction is 'least', but must be one of min, max"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(checkout, was, now, said):
    with pytest.raises(UserError) as raised:
        read(checkout, GRID.replace(was, now))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_that_go_together_are_not_refused_one_by_one(checkout):
    """Convolutions need dropout 0, and the article's is 0.5."""
    both = GRID.replace("cgan.loss: [hinge, min-max]", "cgan.network: [conv]\n  cgan.dropout: [0.0]")
    assert len(plan.settings(*read(checkout, both))) == 4
    with pytest.raises(UserError, match="dropout"):
        plan.settings(*read(checkout, both.replace("[0.0]", "[0.0, 0.5]")))


def test_whole_numbers_of_a_range_are_equally_likely():
    noise, found = random.Random(1), plan.Range(low=1.2, high=4, whole=True)
    drawn = [found.draw(noise) for _ in range(3000)]
    assert {n: round(drawn.count(n) / 3000, 1) for n in set(drawn)} == {2: 0.3, 3: 0.3, 4: 0.3}
    with pytest.raises(ValueError, match=r"no whole number from 1.2 to 1.4"):
        plan.Range(low=1.2, high=1.4, whole=True)


@pytest.mark.parametrize("name", ["my sweep", "bob's", "-x", "a..b", "é"])
def test_a_file_whose_name_no_experiment_can_have_is_refused(checkout, name):
    path = checkout / f"{name}.yaml"
    path.write_text(GRID)
    with pytest.raises(UserError, match="experiments get the file's name"):
        plan.read(path)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("high: 1.0e-2", "high: 1.0e-5", "low is 0.0001, but must be below high"),
        ("low: 1.0e-4", "low: 0", "low is 0.0, but must be above 0 with log"),
        ("high: 1.0e-2", "high: 5", "cgan.lr is 5.0, but must be a number in (0, 1]"),
        ("log: true", "lag: true", "lag is True, but the file has no such key"),
    ],
)
def test_a_range_is_checked_at_both_ends(checkout, was, now, said):
    with pytest.raises(UserError) as raised:
        read(checkout, RANDOM.replace(was, now))
    assert said in str(raised.value)


def test_a_metric_that_evaluate_does_not_write_is_named_with_those_it_does():
    results = {"cgan": {"recall": 0.5}, "data": "digits"}
    assert plan.metric_of(results, "cgan.recall") == 0.5
    with pytest.raises(UserError, match=r"must be one of cgan\.recall$"):
        plan.metric_of(results, "cgan.recal")
    with pytest.raises(UserError, match=r"cgan\.recall was not measured"):
        plan.metric_of({"cgan": {"recall": None}}, "cgan.recall")


def test_the_best_trial_leads_the_table_and_says_how_to_apply_it(checkout):
    sweep, _ = read(checkout, GRID)
    trials = [
        search.Ended("lr-1", {"cgan.lr": 0.001, "seed": 1}, 4.0, "", False),
        search.Ended("lr-2", {"cgan.lr": 0.002, "seed": 1}, None, "training diverged", True),
    ]
    lines = search.text(trials, sweep, cluster=False).splitlines()
    assert lines[1].split() == ["lr-1", "4", "cgan.lr=0.001"]
    assert "training diverged" in lines[2]
    assert lines[-1] == "best: lr-1: dvc exp apply lr-1"
    assert "dvc exp pull origin lr-1 && dvc exp apply lr-1" in search.text(trials, sweep, cluster=True)


def test_a_metric_is_checked_by_the_last_results_that_are_here(checkout):
    (checkout / "data/metrics").mkdir(parents=True)
    results = '{"cgan": {"frechet_distance": 1.5}}'
    (checkout / "data/metrics/evaluate.json").write_text(results)
    read(checkout, GRID)
    with pytest.raises(UserError, match=r"metric is cgan.frechet, but must be one of cgan.frechet_distance"):
        read(checkout, GRID.replace("cgan.frechet_distance", "cgan.frechet"))


@pytest.mark.parametrize(
    ("origin", "shared"),
    [
        ("ssh://git@host.example/x.git", "ssh://git@host.example/x.git"),
        ("ssh://git:secret@host.example:22/x.git", "ssh://git@host.example:22/x.git"),
        ("ssh://host.example/x.git", "ssh://host.example/x.git"),
        ("git@host.example:x.git", "git@host.example:x.git"),
        ("https://me:secret@host.example/x.git", "https://host.example/x.git"),
        ("git://192.0.2.1/x.git", "git://192.0.2.1/x.git"),
    ],
)
def test_workers_get_the_remote_with_its_user_over_ssh_and_without_any_password(origin, shared):
    assert search.without_password(origin) == shared


def test_workers_need_a_commit_that_is_on_origin_and_get_the_name_of_the_mlflow_experiment(
    checkout, tmp_path, monkeypatch
):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=checkout, check=True)

    for name in ("origin", "upstream"):
        subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / f"{name}.git")], check=True)
    git("init", "-q", "-b", "main")
    for name in ("origin", "upstream"):
        git("remote", "add", name, str(tmp_path / f"{name}.git"))
    git("add", "params.yaml")
    git("commit", "-qm", "a commit")
    git("push", "-q", "upstream", "main")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host.example:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    monkeypatch.setattr(search, "_dvc", lambda *words: "store")
    with pytest.raises(UserError, match="origin lacks the commit"):
        search.home("lr", cluster=True)
    git("push", "-q", "origin", "main")
    home = search.home("lr", cluster=True)
    assert home.environment["MLFLOW_EXPERIMENT_NAME"] == "ours"
    assert "secret" not in str(home)


def test_of_two_trials_with_the_same_values_the_one_with_a_result_counts(checkout):
    sweep, _ = read(checkout, GRID)
    done = types.SimpleNamespace(metrics={"metric": 2.0}, config={"values": {"cgan.lr": 0.1}}, error=None)
    stopped = types.SimpleNamespace(metrics={}, config={"values": {"cgan.lr": 0.1}}, error=None)
    for order in ([done, stopped], [stopped, done]):
        (ended,) = search._ended(order, types.SimpleNamespace(sweep="lr"), sweep)
        assert ended.metric == 2.0


def test_a_trial_that_no_machine_has_room_for_is_an_error_and_does_not_wait():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
        {"Alive": True, "Resources": {"GPU": 1.0, "CPU": 2.0}},
    ]
    search._room(nodes, {"CPU": 2, "GPU": 1})
    with pytest.raises(UserError, match=r"takes 4 CPU .* but the machines have: 1 CPU; 2 CPU"):
        search._room(nodes, {"CPU": 4})


def test_ray_does_not_get_the_login_of_the_store_to_send_it_on(monkeypatch):
    sent = pytest.importorskip("ray.tune.execution.class_cache").ENV_VARS_TO_PROPAGATE
    for name in sent:
        monkeypatch.setenv(name, "hidden")
    with search.without_logins():
        left = [name for name in sent if name in os.environ]
        assert not [name for name in left if "KEY" in name or "TOKEN" in name]
    assert all(os.environ[name] == "hidden" for name in sent)
