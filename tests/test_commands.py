"""Stages and commands in one process: runs are delivered, compared and traced, and models draw."""

import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from check_page import names_of_this_machine
from checkout import run
from condgen.base import files, pipeline
from condgen.cli import main
from condgen.tracking import courier, journal, lineage, registry, store


def as_experiment(checkout, name):
    """Makes the checkout's files a DVC experiment without a run: all its stages came from the cache."""
    outs = {
        stage: [{"path": p, "md5": pipeline.md5(Path(p))} for p in pipeline.outs(spec) if Path(p).is_file()]
        for stage, spec in pipeline.stages().items()
    }
    outs["train_cgan"].append({"path": "data/models/cgan", "md5": "0.dir"})
    lock = {"schema": "2.0", "stages": {stage: {"outs": found} for stage, found in outs.items()}}
    (checkout / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    me = ["-c", "user.name=x", "-c", "user.email=x"]
    ref = f"refs/exps/12/{'3' * 38}/{name}"
    for words in (
        ["init", "-q"],
        ["add", "dvc.lock"],
        [*me, "commit", "-qm", "x"],
        ["update-ref", ref, "HEAD"],
    ):
        subprocess.run(["git", *words], cwd=checkout, check=True)


def test_runs_are_delivered_compared_traced_and_their_champion_draws(checkout, capsys, monkeypatch):
    for stage in ("train_cvae", "train_cgan", "sample", "evaluate"):
        run(stage)
    results = files.read_json("data/metrics/evaluate.json")
    assert results["cvae"]["images"] == results["cgan"]["images"] == 100
    summary = files.read_json("data/metrics/summary.json")
    assert summary == {name: {key: results[name][key] for key in summary[name]} for name in ("cvae", "cgan")}
    assert {int(file.stem) for file in (checkout / "data/plots/history/cgan").iterdir()} == {1}
    waiting = list(journal.waiting(checkout / "outbox"))
    assert len(waiting) == 4
    monkeypatch.setattr(courier, "POLL_SECONDS", 0.1)
    over = threading.Event()
    over.set()
    courier.Courier(waiting[-1]).run(over.wait)
    assert not list(journal.waiting(checkout / "outbox"))
    assert list(checkout.glob("mlartifacts/**/condgen/sampling/serving.py")), "the code of a stored model"
    assert not list(checkout.glob("mlartifacts/**/condgen/weights")), "every model would have these megabytes"

    opened = store.existing()
    models = opened.client.search_logged_models([opened.experiment])
    shown = {model.name: {m.key: m.value for m in model.metrics} for model in models}
    assert shown == {name: pytest.approx(values, rel=1e-5) for name, values in summary.items()}

    capsys.readouterr()
    main(["compare", "--claims", "--metric", "recall", "--csv", "table.csv", "--png", "table.png"])
    said = capsys.readouterr().out
    assert "cvae.recall" in said
    assert "one seed: no interval over seeds, so nothing can be told" in said
    assert f"{results['cvae']['recall']}" in (checkout / "table.csv").read_text()
    assert said.splitlines()[1].endswith("  HEAD@none")
    main(["trace", "data/samples/cvae.npz"])
    said = capsys.readouterr().out
    assert "sample" in said
    assert "train_cvae" in said
    (checkout / "a `back` tick's.npz").write_bytes((checkout / "data/samples/cvae.npz").read_bytes())
    main(["trace", "a `back` tick's.npz"])
    assert capsys.readouterr().out.partition("\n")[2] == said.partition("\n")[2]
    main(["trace", "HEAD@none"])
    assert "train_cgan" in capsys.readouterr().out
    main(["trace", "data/report.html"])
    said = capsys.readouterr().out
    assert said.count("made by train_cvae · HEAD@none, 2") == 1, "each ancestor once"
    assert said.count("made by train_cvae · HEAD@none, see above") == 1
    assert "  http://127.0.0.1:5000/#/experiments/1/runs/" in said
    as_experiment(checkout, "cached")
    main(["trace", "cached"])
    said = capsys.readouterr().out
    assert said.startswith("cached, a DVC experiment all of whose stages came from the cache\n  download\n")
    assert "  train_cgan\n    made by train_cgan · HEAD@none, 2" in said

    page = Path("data/report.html").read_text()
    assert names_of_this_machine(page, checkout) == []
    assert names_of_this_machine(page + f"<p>{checkout}/x", checkout) != []
    for address in ("models:/condgen-cvae@champion", "models:/condgen-cgan@latest", "models:/condgen-cvae/1"):
        assert registry.report(address).read_text() == page
    md5 = pipeline.md5(Path("data/models/cvae/model.safetensors"))
    trained, measured = lineage.measured(store.existing(), "cvae", md5)
    assert trained["cvae.epochs"] == "1"
    assert measured == results
    assert lineage.measured(store.existing(), "cvae", "0" * 32) == ({}, None)
    with pytest.raises(SystemExit, match=r"condgen: models:/condgen-none/1 cannot be found in"):
        main(["demo", "models:/condgen-none/1"])
    with pytest.raises(
        SystemExit, match=r"condgen: the address is cgan, but must begin with models:/ or runs:/"
    ):
        main(["demo", "cgan"])
    capsys.readouterr()
    main(["draw", "42", "--model", "models:/condgen-cvae@champion", "--out", "42.png"])
    main(["export", "--per-class", "1", "--model", "cvae", "--out", "set"])
    assert (checkout / "42.png").is_file()
    assert files.read_json("set/dataset.json")["model"] == "cvae"
    for name in ("no such thing", "x" * 10_000, "a `back` tick's"):
        with pytest.raises(
            SystemExit, match=r"condgen: .* is neither a file nor the id or name of a run, nor a DVC exp"
        ):
            main(["trace", name])
    with pytest.raises(SystemExit, match="condgen: models:/condgen-none/1 cannot be fetched"):
        main(["draw", "4", "--model", "models:/condgen-none/1", "--out", "4.png"])
