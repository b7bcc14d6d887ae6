"""The pages show the committed numbers, not those of the last run, and what they link to exists."""

import re
import shlex
import shutil
import subprocess

import pytest

from condgen.cli import parser
from update_docs import BEST, COPIES, blocks, split

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
TARGET = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def pages(root):
    """Path from the root -> text of every page."""
    paths = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def anchors(text):
    """The names by which a page's headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tables_are_made_from_the_committed_numbers(pages):
    for page, parts in blocks().items():
        assert set(re.findall(r"<!-- (\w+): written by", pages[page])) == set(parts), page
        for name, content in parts.items():
            assert split(pages[page], name)[1] == content, "run `make docs`, and look at what it changed"


def test_the_tables_depend_on_the_committed_numbers_and_not_on_the_last_run(root, tmp_path):
    shutil.copytree(root / "docs", tmp_path / "docs")
    shutil.copytree(root / "data/published", tmp_path / "data/published")
    (tmp_path / "tests/benchmarks").mkdir(parents=True)
    shutil.copy(root / "tests/benchmarks/latest.json", tmp_path / "tests/benchmarks")
    assert blocks(tmp_path) == blocks(root), "the copy has no data/metrics"
    for name, page in {
        "docs/results/evaluate.json": "docs/results.md",
        "data/published/best.json": "README.md",
        "docs/seeds.csv": "docs/results.md",
        "docs/ladder.csv": "docs/results.md",
        "tests/benchmarks/latest.json": "docs/speed.md",
    }.items():
        path = tmp_path / name
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\d\.\d+", "7.75", text), encoding="utf-8")
        assert blocks(tmp_path)[page] != blocks(root)[page], name
        path.write_text(text, encoding="utf-8")


def test_what_several_seeds_give_stands_before_one_run(pages):
    heads = (
        r"^\| The article says \| As in the article, \d+ seeds \| Each at its best, (one run|\d+ seeds) \|$"
    )
    assert re.search(heads, pages["README.md"], re.M)
    results = pages["docs/results.md"]
    assert results.index("<!-- seeds: written") < results.index("<!-- claims: written")


def test_the_readme_is_one_page(pages):
    assert pages["README.md"].count("\n") <= 130


def test_nothing_is_left_to_fill_in(pages):
    for page, text in pages.items():
        assert not re.search(r"\b(TIME|TODO|TBD|XXX)\b", text), page


def test_the_target_of_every_link_and_picture_exists(root, pages):
    for page, text in pages.items():
        for target in TARGET.findall(FENCE.sub("", text)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (root / page).parent / path if path else root / page
            assert file.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target}"


def test_the_pages_can_be_reached_from_the_readme(pages):
    linked = set(TARGET.findall(pages["README.md"]))
    assert set(pages) - {"README.md"} <= linked


def test_pictures_are_small_enough_to_keep_and_each_is_shown(root, pages):
    shown = {
        ((root / page).parent / target).resolve()
        for page, text in pages.items()
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    }
    assert shown == set((root / "docs").resolve().glob("**/*.[pg][ni][gf]"))
    assert shown >= {
        (root / target).resolve() for target in (COPIES | BEST).values() if target.endswith(".png")
    }
    for picture in shown:
        assert 0 < picture.stat().st_size < 1_000_000, picture


def test_every_make_target_that_is_named_exists(root, pages):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    for page, text in pages.items():
        # Only in code: at the start of a line or of inline code, with or without a variable before it.
        code = "\n".join(FENCE.findall(text) + re.findall(r"`[^`\n]+`", text))
        named = set(re.findall(r"(?:^|`)(?:\w+=\S+ )?make ([a-z-]+)", code, re.MULTILINE))
        assert named - {"readme"} <= targets, page  # the changelog names what was removed


def test_every_command_that_is_shown_can_be_parsed(pages):
    shown = re.findall(r"^condgen (.*)$", "\n".join(FENCE.findall("\n".join(pages.values()))), re.MULTILINE)
    assert {words.split()[0] for words in shown} == {
        "draw",
        "demo",
        "export",
        "export-model",
        "augment",
        "compare",
        "recipe",
        "ladder",
        "sweep",
        "trace",
        "deliver",
        "relocate",
        "human-test",
        "doctor",
        "prune",
    }
    for words in shown:
        parser().parse_args(shlex.split(words, comments=True))


def test_the_old_name_of_make_docs_is_gone(root):
    words = ["make " + "readme", "update_" + "readme", "test_" + "readme"]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        path = root / name
        if name == "CHANGELOG.md" or path.suffix == ".png" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not any(word in text for word in words), name
