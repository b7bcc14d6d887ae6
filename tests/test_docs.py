"""The README's numbers and pictures are those of the committed run."""

import re

from update_readme import PICTURES, blocks, split


def test_the_tables_are_made_from_the_committed_numbers(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    for name, content in blocks().items():
        assert split(text, name)[1] == content, "run `make readme`, and look at what it changed"


def test_nothing_is_left_to_fill_in(root):
    assert not re.search(r"\b(TIME|TODO|TBD|XXX)\b", (root / "README.md").read_text(encoding="utf-8"))


def test_the_pictures_it_shows_are_there_and_small_enough_to_keep(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))
    assert shown >= {"docs/article_table.png", "docs/cvae_classes.png", "docs/cgan_classes.png"}
    assert set(PICTURES.values()) <= shown
    for picture in shown:
        assert 0 < (root / picture).stat().st_size < 1_000_000, picture
