"""Stages and commands in one process: runs are delivered, compared and traced, and models draw."""

import threading

import pytest

from checkout import run
from condgen.base import files
from condgen.cli import main
from condgen.tracking import courier, journal, store


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
    courier.Courier(waiting[-1]).run(over)
    assert not list(journal.waiting(checkout / "outbox"))

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
    main(["trace", "data/samples/cvae.npz"])
    said = capsys.readouterr().out
    assert "sample" in said
    assert "train_cvae" in said
    (checkout / "a `back` tick's.npz").write_bytes((checkout / "data/samples/cvae.npz").read_bytes())
    main(["trace", "a `back` tick's.npz"])
    assert capsys.readouterr().out.partition("\n")[2] == said.partition("\n")[2]
    main(["trace", "HEAD@none"])
    assert "train_cgan" in capsys.readouterr().out
    main(["draw", "42", "--model", "models:/condgen-cvae@champion", "--out", "42.png"])
    main(["export", "--per-class", "1", "--model", "cvae", "--out", "set"])
    assert (checkout / "42.png").is_file()
    assert files.read_json("set/dataset.json")["model"] == "cvae"
    for name in ("no such thing", "x" * 10_000, "a `back` tick's"):
        with pytest.raises(SystemExit, match=r"condgen: .* is neither a file nor the id or name of a run"):
            main(["trace", name])
    with pytest.raises(SystemExit, match="condgen: models:/condgen-none/1 cannot be fetched"):
        main(["draw", "4", "--model", "models:/condgen-none/1", "--out", "4.png"])
