"""A real browser for tests of the page: Debian's Chromium, driven by Playwright."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")  # not the session: as long as it is open, asyncio.run() is refused elsewhere
def browser():
    """Playwright's Browser. Skips the test where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    # Without Chromium's own sandbox, which root and many containers cannot start: it opens only our files.
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """visit(file or URL, width=1280, height=900, **context) -> Playwright's Page, loaded.

    context: what `Browser.new_context` takes, such as color_scheme="dark", reduced_motion="reduce" and
    java_script_enabled=False. The test fails if a page reports an error, or asks for anything but itself.
    """
    contexts, troubles = [], []

    def open_page(address, width=1280, height=900, **context):
        address = address.absolute().as_uri() if isinstance(address, Path) else address
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request", lambda r: troubles.append(f"asks for {r.url}") if outside(r.url, address) else None
        )
        page.goto(address, timeout=120_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    if troubles:
        pytest.fail("\n".join(troubles))


def outside(url, address):
    """Whether a page at `address` asks another place for something."""
    return url.partition("#")[0] != address.partition("#")[0] and not url.startswith(("data:", "blob:"))


def violations(page):
    """What axe-core calls serious or critical on a page, a line each: rule, help, where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {', '.join(str(node['target']) for node in rule['nodes'][:5])}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
