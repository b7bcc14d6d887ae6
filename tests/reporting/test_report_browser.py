"""The report in a real browser: nothing fetched, nothing cut off on a phone, light and dark both readable."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from test_pictures import made_up_results

from condgen.reporting import figures, report
from condgen.reporting.captions import Picture
from specs import DIGITS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
]
# Once the page has loaded, posts its layout, colours and requests to the parent frame.
PROBE = """<script>
addEventListener("load", () => {
  const luminance = colour => colour.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + b / 765, 0);
  const style = getComputedStyle(document.body);
  parent.postMessage([
    document.documentElement.scrollWidth - innerWidth,
    [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).length,
    luminance(style.backgroundColor), luminance(style.color),
    performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length,
  ].join(" "), "*");
});
</script>"""
# A frame, because a window cannot be made as narrow as a phone.
FRAME = """<iframe src="probe.html" style="width: {width}px; height: 800px; border: 0"></iframe>
<script>onmessage = event => document.documentElement.dataset.probe = event.data</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    noise = np.random.default_rng(0).integers(0, 256, (150, 28, 28), dtype=np.uint8)
    figures.rows(folder / "grid.png", DIGITS.classes, noise)
    pictures = [Picture("A grid", "Wider than a phone.", folder / "grid.png")]
    report.html(folder / "report.html", made_up_results(), pictures)
    text = (folder / "report.html").read_text()
    (folder / "probe.html").write_text(text.replace("</body>", PROBE + "</body>"))
    return folder


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_the_screen_fetches_nothing_and_is_readable(page, tmp_path, width, scheme):
    (page / f"{width}.html").write_text(FRAME.format(width=width))
    words = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", "--window-size=1400,900"]
    words.append(f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}")
    done = subprocess.run(
        [*words, "--dump-dom", (page / f"{width}.html").as_uri()], capture_output=True, text=True, timeout=400
    )
    said = re.search(r'data-probe="([^"]+)"', done.stdout)
    overflow, broken, paper, ink, fetched = map(float, said[1].split())
    assert overflow <= 0, "the page is wider than the screen"
    assert broken == 0, "a picture is not shown"
    assert fetched == 0, "something was fetched"
    assert abs(paper - ink) > 0.6, "text and background have too little contrast"
    assert (paper < 0.5) == (scheme == "dark")
