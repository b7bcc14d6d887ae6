"""Writes docs/page.gif: the page of the last run, as a visitor sees it. `make docs` calls it."""

import io
from pathlib import Path

from PIL import Image

from browser import CHROMIUM

PAGE, FILM = Path("data/report.html"), Path("docs/page.gif")
WIDTH, HEIGHT, SHOWN = 800, 840, 600  # CSS pixels of the window, and pixels of the picture's width
COLOURS = 48
TEXT = "2026-11-27"
GAP = 24  # pixels above what is scrolled to


def frames(page):
    """(picture, milliseconds) of the answer, the samples, drawing, and training."""

    def shot(ms):
        image = Image.open(io.BytesIO(page.screenshot()))
        return image.convert("RGB").resize((SHOWN, SHOWN * HEIGHT // WIDTH), Image.Resampling.LANCZOS), ms

    def to(selector):
        page.evaluate(f"window.scrollTo(0, document.querySelector('{selector}').offsetTop - {GAP})")

    yield shot(2500)
    to("#pictures")
    yield shot(1800)
    to("#draw-text")
    page.fill("#draw-text", "")
    for n in range(1, len(TEXT) + 1):
        page.fill("#draw-text", TEXT[:n])
        page.wait_for_timeout(300)  # both models draw
        yield shot(1200 if n == len(TEXT) else 250)
    for _ in range(2):
        page.click("#draw-again")
        page.wait_for_timeout(300)
        yield shot(900)
    to("#film")
    last = int(page.get_attribute("#epoch", "max"))
    for k in range(16):
        page.fill("#epoch", str(round(last * (k / 15) ** 2)))  # a slider, too, takes a value and says so
        yield shot(1800 if k == 15 else 180)


def main():
    if CHROMIUM is None:
        print(f"{FILM}: left as it is, because there is no Chromium (Debian: apt-get install chromium)")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(PAGE.absolute().as_uri())
        images, times = zip(*frames(page), strict=True)
        browser.close()
    whole = Image.new("RGB", (SHOWN, images[0].height * len(images)))
    for n, image in enumerate(images):
        whole.paste(image, (0, n * image.height))
    palette = whole.quantize(COLOURS, Image.Quantize.FASTOCTREE)
    few = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    few[0].save(FILM, save_all=True, append_images=few[1:], duration=times, loop=0, optimize=True)
    print(f"{FILM}: {len(few)} pictures, {FILM.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
