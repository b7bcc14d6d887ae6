"""The page in a real browser draws what `condgen draw` draws, and its game counts right."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_pictures import made_up_results

from browser import violations
from condgen.base import files, intervals, random
from condgen.datasets import data
from condgen.evaluation import game as shown
from condgen.evaluation import human
from condgen.experiments import recipes
from condgen.models import MODELS, classifier
from condgen.reporting import play, report
from condgen.sampling import drawing, game, latent, program
from generators import KINDS, generator, generators
from specs import SHAPES


@pytest.fixture(scope="module")
def params(cvae_params, cgan_params):
    return {"cvae": cvae_params, "cgan": cgan_params}


def page(folder, models, judge_params, most=program.MOST_CHARACTERS):
    """The report of generators: their playground, and a game with made-up real images."""
    spec = models["cgan"].spec
    gen = torch.Generator().manual_seed(0)
    x, y = torch.rand(300, spec.pixels, generator=gen), torch.arange(300) % spec.count
    part = data.Images(x, y)
    split = data.Split(part, part, part, spec, "noise")
    samples = {name: latent.sample(model, 20, seed=0) for name, model in models.items()}
    program.write(folder / "playground", models, most)
    pictures = game.pictures(samples, split, models["cgan"], seed=0)
    files.write_npz(folder / "playground/game.npz", **pictures)
    found = shown.load(folder / "playground/game.npz", spec)
    judge = classifier.build(judge_params, spec, 0).eval()
    made = play.load(folder / "playground", spec, found, shown.opinions(judge, found, spec))
    report.html(folder / "report.html", made_up_results(classes=list(spec.classes)), play=made)
    return folder / "report.html"


@pytest.fixture(scope="module")
def article(tmp_path_factory, params, classifier_params):
    """The page of generators as the article has them, small."""
    models = generators("as in the article", params)
    return page(tmp_path_factory.mktemp("page"), models, classifier_params), models


def settle(opened):
    """Waits until the last drawing is complete, or refused."""
    opened.wait_for_selector("#draw[data-state=done], #draw[data-state=error]")
    return opened.get_attribute("#draw", "data-state")


def put(opened, **values):
    """Fills fields of the playground, as a user does: each change draws."""
    for name, value in values.items():
        opened.eval_on_selector(
            f"#draw-{name}",
            """(field, value) => {
                field.value = value;
                field.dispatchEvent(new Event("input", { bubbles: true }));
            }""",
            str(value),
        )
    return settle(opened)


def drawn(opened, name, channels=1):
    """A model's canvas as `drawing.picture` returns pictures."""
    width, height, pixels = opened.eval_on_selector(
        f"[data-model={name}] canvas",
        """canvas => {
            const { width, height } = canvas;
            return [width, height, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
        }""",
    )
    pixels = np.array(pixels, np.uint8).reshape(height, width, 4)
    return pixels[:, :, 0] if channels == 1 else pixels[:, :, :3]


def away(a, b):
    """The largest difference of two pictures, grey levels."""
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_draws_the_pictures_of_condgen_draw(visit, tmp_path, params, classifier_params, kind):
    models = generators(kind, params)
    opened = visit(page(tmp_path, models, classifier_params))
    settle(opened)
    spec = models["cvae"].spec
    texts = ["cross", "square, cross,square"] if spec == SHAPES else ["2026", "7", "31.12.2026 23:59/0,+"]
    for number, text in enumerate(texts):
        for seed, temperature in ((number, 1), (2**32 - 1 - number, 0.35)):
            assert put(opened, text=text, seed=seed, temperature=temperature) == "done"
            for name, model in models.items():
                expected = drawing.picture(text, model, seed=seed, temperature=temperature)
                found = drawn(opened, name, spec.channels)
                assert away(found, expected) <= 1, (name, text, seed, temperature)
    other = drawing.picture(text, models["cvae"], seed=number, temperature=temperature)
    assert away(drawn(opened, "cvae", spec.channels), other) > 1, "another seed is another picture"


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_rounded_weights_draw_as_rounded_networks(visit, tmp_path, params, classifier_params, precision):
    models = generators("at their best", params)
    most = sum(program.characters(program.pack(model, precision)) for model in models.values())
    opened = visit(page(tmp_path, models, classifier_params, most))
    put(opened, text="0123456789", seed=3)
    for name, model in models.items():
        expected = drawing.picture("0123456789", program.rounded(model, precision), seed=3)
        assert away(drawn(opened, name), expected) <= 1
    bits = {"float16": "16 bits", "int8": "8 bits"}[precision]
    assert opened.locator("#draw").inner_text().count(f"numbers are rounded to {bits}") == 2


def test_the_networks_of_the_best_recipe_fit_and_a_typed_digit_appears(
    visit, tmp_path, params, classifier_params, root, monkeypatch
):
    monkeypatch.chdir(root)
    best = {name: {} for name in MODELS}
    for key, value in recipes.read("best").items():
        name, _, key = key.partition(".")
        best[name][key] = value
    changed = {name: p.model_copy(update=best[name]) for name, p in params.items()}
    models = {name: generator(name, p) for name, p in changed.items()}
    opened = visit(page(tmp_path, models, classifier_params))
    settle(opened)
    said = files.read_json(tmp_path / "playground/playground.json")
    assert {name: about["weights"] for name, about in said.items()} == {"cvae": "int8", "cgan": "float16"}
    opened.focus("#draw-text")
    opened.keyboard.press("End")
    opened.keyboard.type("7")
    settle(opened)
    print(f"a digit more: {float(opened.get_attribute('#draw', 'data-milliseconds')):.0f} ms")  # pytest -s
    for name, model in models.items():
        expected = drawing.picture("2026-11-247", program.rounded(model, said[name]["weights"]))
        assert away(drawn(opened, name), expected) <= 1


def test_the_noise_is_that_of_torch(article, visit):
    opened = visit(article[0])
    for n in (1, 2, 3, 15, 16, 17, 31, 32, 100, 1250):
        for seed, stream in ((0, "drawing/text/0"), (2**32 - 1, "x" * 64)):
            expected = torch.randn(n, generator=random.generator(seed, stream)).numpy()
            found = opened.evaluate(
                "([n, seed, stream]) => [...noise.randn(n, noise.generator(seed, stream))]", [n, seed, stream]
            )
            assert np.allclose(found, expected, rtol=0, atol=5e-6), (n, seed)


def test_slerp_is_that_of_the_pictures(article, visit, gen):
    opened = visit(article[0])
    a, b = torch.randn(2, 5, generator=gen)
    for t in (0.0, 0.3, 1.0):
        for end in (b, a * 2):
            expected = latent.slerp(a, end, torch.tensor([[t]]))[0].tolist()
            assert opened.evaluate("([a, b, t]) => noise.slerp(a, b, t)", [a.tolist(), end.tolist(), t]) == (
                pytest.approx(expected, abs=1e-6)
            )


def test_between_two_draws_is_the_one_then_the_other(article, visit):
    path, models = article
    opened = visit(path)
    put(opened, text="48", seed=2, other=9)
    ends = [drawing.picture("48", models["cgan"], seed=seed) for seed in (2, 9)]
    assert away(drawn(opened, "cgan"), ends[0]) <= 1
    put(opened, between=100)
    assert away(drawn(opened, "cgan"), ends[1]) <= 1
    put(opened, temperature=0.5)
    assert away(drawn(opened, "cgan"), drawing.picture("48", models["cgan"], seed=9, temperature=0.5)) <= 1
    put(opened, between=50, temperature=1)
    assert min(away(drawn(opened, "cgan"), end) for end in ends) > 10
    assert (
        "50 % of the way from seed 2 to seed 9" in opened.locator("[data-model=cgan] .command").inner_text()
    )


def test_another_draw_takes_the_next_seed_and_the_command_shown_draws_it(article, visit):
    path, models = article
    opened = visit(path)
    put(opened, text="-1 2", seed=4, temperature=0.5)
    opened.press("#draw-text", "Enter")
    assert opened.input_value("#draw-seed") == "4"
    opened.click("text=Another draw")
    settle(opened)
    assert opened.input_value("#draw-seed") == "5"
    said = opened.locator("[data-model=cgan] .command").inner_text()
    assert said == "condgen draw --model cgan --seed 5 --temperature 0.5 --out cgan.png -- '-1 2'"
    expected = drawing.picture("-1 2", models["cgan"], seed=5, temperature=0.5)
    assert away(drawn(opened, "cgan"), expected) <= 1


def test_the_picture_is_saved_as_condgen_draw_writes_it(article, visit, tmp_path):
    path, models = article
    opened = visit(path)
    put(opened, text="2026-11", seed=1)
    with opened.expect_download() as downloaded:
        opened.click("[data-model=cvae] .save")
    downloaded.value.save_as(tmp_path / "page.png")
    assert downloaded.value.suggested_filename == "cvae 2026-11.png"
    drawing.draw(tmp_path / "ours.png", "2026-11", [models["cvae"]], seed=1)
    with Image.open(tmp_path / "page.png") as a, Image.open(tmp_path / "ours.png") as b:
        assert away(np.asarray(a.convert("L")), np.asarray(b)) <= 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"text": "12a"}, "“a” cannot be drawn: type digits, spaces and - . , : / +"),
        ({"text": ""}, "Type at least one digit."),
        ({"text": " - "}, "Type at least one digit."),
        ({"text": "1" * 101}, "The text has 101 characters, but must have at most 100."),
        ({"seed": "1.5"}, "The seed must be a whole number from 0 to 4294967295."),
        ({"seed": ""}, "The seed must be"),
        ({"other": 2**32}, "The seed of the other draw must be"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line_beside_the_field(article, visit, values, said):
    opened = visit(article[0])
    assert put(opened, **values) == "error"
    assert opened.locator("#draw-error").inner_text().startswith(said)
    (field,) = values
    assert opened.get_attribute(f"#draw-{field}", "aria-invalid") == "true"
    assert put(opened, **{field: 1}) == "done"
    assert opened.locator("#draw-error").inner_text() == ""
    assert opened.get_attribute(f"#draw-{field}", "aria-invalid") is None


def test_both_numbers_of_a_flat_latent_space_are_chosen_by_mouse_and_by_keys(article, visit):
    path, models = article
    opened = visit(path)
    put(opened, text="35")
    assert opened.locator(".pad").count() == 1, "the CGAN's space has more dimensions"
    opened.locator(".pad").scroll_into_view_if_needed()
    box = opened.locator(".pad").bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] * 1 / 4)
    opened.mouse.up()
    settle(opened)
    said = opened.locator("[data-model=cvae] .command").inner_text()
    z = [float(value) for value in re.findall(r"= (-?[\d.]+)", said)]
    assert z == pytest.approx([1.5, 1.5], abs=0.1), "to the right and up"
    opened.focus(".hand input >> nth=0")
    opened.keyboard.press("Home")
    settle(opened)
    opened.focus(".hand input >> nth=1")
    opened.keyboard.press("End")
    settle(opened)
    expected = models["cvae"].draw(torch.tensor([[-3.0, 3.0]] * 2), torch.tensor([3, 5]))
    assert away(drawn(opened, "cvae"), np.hstack(list(expected))) <= 1
    assert away(drawn(opened, "cgan"), drawing.picture("35", models["cgan"])) <= 1, "it goes on as before"
    opened.click("text=Back to random numbers")
    settle(opened)
    assert away(drawn(opened, "cvae"), drawing.picture("35", models["cvae"])) <= 1


def test_classes_with_names_are_added_by_buttons(visit, tmp_path, params, classifier_params):
    opened = visit(page(tmp_path, generators("in colour", params), classifier_params))
    put(opened, text="")
    assert opened.locator("#draw-error").inner_text() == "A name of a class is missing."
    for name in ("cross", "open circle"):
        opened.click(f".names >> text={name}")
    assert settle(opened) == "done"
    assert opened.input_value("#draw-text") == "cross, open circle"
    assert put(opened, text="cross, dot") == "error"
    assert opened.locator("#draw-error").inner_text() == "No class is called “dot”."


def test_what_the_page_cannot_draw_is_said_in_a_sentence(visit, tmp_path, params, classifier_params):
    models = {name: generator(name, p) for name, p in params.items()}
    models["cvae"] = generator("cvae", params["cvae"].model_copy(update={"conditional": False}))
    opened = visit(page(tmp_path, models, classifier_params))
    assert "trained without labels" in opened.locator("[data-model=cvae]").inner_text()
    assert put(opened, text="5") == "done"
    assert away(drawn(opened, "cgan"), drawing.picture("5", models["cgan"])) <= 1
    (tmp_path / "none").mkdir()
    opened = visit(page(tmp_path / "none", models, classifier_params, most=10))
    assert "there is room for" in opened.locator("[data-model=cgan]").inner_text()
    assert opened.locator("#draw input").count() == 0


def play_game(opened, number, answer):
    """Plays a game by keys; answer(i) is "r" or "d". Returns the line."""
    opened.evaluate(f"location.hash = 'game={number}'")
    opened.wait_for_function(
        "n => document.querySelector('#game .address').textContent === String(n)", arg=number
    )
    opened.focus("[data-guess=real]")
    for i in range(20):
        assert f"Picture {i + 1} of 20" in opened.locator("#game .turn").inner_text()
        opened.keyboard.press(answer(i))
    return json.loads(opened.input_value("#game-line"))


def test_the_game_counts_what_was_taken_for_real_beside_d_and_the_classifier(article, visit):
    path, _ = article
    opened = visit(path)
    opened.wait_for_selector("#game[data-state=ready]")
    given = json.loads(opened.text_content("#game-pictures"))
    line = play_game(opened, 7, lambda i: "r")
    seen = opened.locator("#game .seen li").all_inner_texts()
    assert len(seen) == 20
    assert sum(text.endswith("✗") for text in seen) == 10, "who says real is fooled by all that is drawn"
    for origin, n in (("real", 10), ("cvae", 5), ("cgan", 5)):
        assert line[origin]["n"] == line[origin]["taken"] == n
    title = opened.inner_text(".score h3")
    wilson = intervals.share(1.0, 10)
    assert f"fooled by 10 of 10 drawn pictures (100 % [{100 * wilson.low:.0f}, 100])" in title
    again = play_game(opened, 8, lambda i: "d")
    assert [again[origin]["taken"] for origin in ("real", "cvae", "cgan")] == [0, 0, 0]
    opened.evaluate("location.hash = 'game=9'")
    opened.wait_for_function("document.querySelector('#game .address').textContent === '9'")
    opened.focus("[data-guess=real]")
    opened.keyboard.down("r")
    opened.keyboard.down("r")  # a key that is held repeats
    assert "Picture 2 of 20" in opened.locator("#game .turn").inner_text()
    opened.keyboard.up("r")
    assert again["id"] != line["id"]
    same = play_game(opened, 7, lambda i: "ArrowLeft" if i % 2 else "ArrowRight")
    for origin in ("real", "cvae", "cgan"):
        assert [same[origin][key] for key in ("n", "d", "read")] == [
            line[origin][k] for k in ("n", "d", "read")
        ]
    assert set(same) == {"game", "id", "pictures", "real", "cvae", "cgan"}, "nothing about the player"
    assert same["pictures"] == given["md5"]


def test_lines_of_the_page_are_pooled(article, visit, tmp_path):
    opened = visit(article[0])
    opened.wait_for_selector("#game[data-state=ready]")
    lines = []
    for number in (1, 2, 3):
        play_game(opened, number, lambda i: "rd"[i % 2])
        lines.append(opened.input_value("#game-line"))
    (tmp_path / "lines").write_text("\n".join(lines))
    answers, bad = human.read([tmp_path / "lines"])
    assert (len(answers), bad) == (3, [])
    assert sum(a.cgan.n for a in answers) == 15


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_accessible_and_fits(article, visit, width, scheme):
    opened = visit(article[0], width=width, color_scheme=scheme)
    settle(opened)
    opened.wait_for_selector("#game[data-state=ready]")
    assert violations(opened) == []
    opened.eval_on_selector("#draw details", "details => { details.open = true; }")
    put(opened, text="1" * 40)
    play_game(opened, 3, lambda i: "rd"[i % 2])
    assert violations(opened) == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("document.activeElement.matches('.score h3')"), "the result has the focus"
