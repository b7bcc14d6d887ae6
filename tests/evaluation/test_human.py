"""Results of the game are pooled by pictures, none counts twice, and a bad line is named."""

import json
import re

import pytest

from condgen.base import intervals
from condgen.base.errors import UserError
from condgen.cli import main
from condgen.evaluation import human


def line(number=0, pictures="a", taken=(9, 4, 2), **changed):
    counts = {
        origin: {"n": n, "taken": k, "d": 1, "read": n}
        for origin, n, k in zip(("real", "cvae", "cgan"), (10, 5, 5), taken, strict=True)
    }
    content = {"game": 7, "id": f"{number:012x}", "pictures": pictures * 32} | counts | changed
    return json.dumps(content, separators=(",", ":"))


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


def test_guesses_of_all_files_are_added_up_with_wilsons_interval(write):
    files = [write("a", line(0), "", line(1, taken=(8, 0, 1))), write("b", line(2, taken=(10, 5, 3)))]
    answers, bad = human.read(files)
    assert bad == []
    head, _, real, cvae, cgan = human.table(answers).splitlines()
    assert head == f"3 games on the pictures {'a' * 32}"
    for row, k, n in ((real, 27, 30), (cvae, 9, 15), (cgan, 6, 15)):
        wilson = intervals.share(k / n, n)
        assert f" {n}  " in row
        assert f"{100 * k / n:.1f}  [{100 * wilson.low:.1f}, {100 * wilson.high:.1f}]" in row


def test_games_on_other_pictures_are_not_mixed(write):
    answers, _ = human.read([write("a", line(0), line(1, "b", taken=(0, 0, 0)))])
    first, second = human.table(answers).split("\n\n")
    assert first.startswith("1 game on the pictures aaaa")
    assert " 40.0 " in first
    assert second.startswith("1 game on the pictures bbbb")
    assert " 40.0 " not in second


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (line(0), "the same game as .*:1$"),
        ("hello", "no JSON"),
        ("[" * 1500, "no JSON"),
        ("[1]", "not the result of a game"),
        (line(5, taken=(11, 0, 0)), "real: counts more than the 10 pictures"),
        (line(5, taken=(-1, 0, 0)), "real.taken: "),
        (line(5, taken=(True, 0, 0)), "real.taken: "),
        (line(5, name="me"), "name: Extra inputs"),
        (line(5, id="Eve"), "id: "),
        (line(5, real=None), "real: "),
        ("9" * 5000, "5000 characters"),
    ],
)
def test_a_bad_line_is_named_and_the_others_count(write, bad, said):
    answers, refused = human.read([write("a", line(0), bad, line(1))])
    assert len(answers) == 2
    assert len(refused) == 1
    assert re.search(f"/a:2: {said}", refused[0])
    assert len(refused[0].splitlines()) == 1


def test_the_command_prints_the_table_and_fails_on_bad_lines(write, capsys):
    main(["human-test", str(write("good", line(0)))])
    assert "drawn by the CGAN" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="condgen: 1 lines do not count, 1 do"):
        main(["human-test", str(write("bad", line(0), "?"))])
    said = capsys.readouterr()
    assert "drawn by the CGAN" in said.out
    assert "bad:2: no JSON" in said.err
    with pytest.raises(SystemExit, match="0 lines do not count, 0 do"):
        main(["human-test", str(write("empty", ""))])
    for name in ("no such file", "."):
        with pytest.raises(UserError, match="cannot be read"):
            human.read([write("x").parent / name])
