"""The built site and a report in a real browser: what loads, what is asked of the network, what moves, what fits.

Needs Debian's chromium and, for the site, ``make docs``. Screenshots are left in ``docs/_build/screenshots``.
"""

import io
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tfsaliency as tfs

HOME = "http://docs.test"
BUILD = Path(__file__).parent.parent.parent / "docs/_build"
SITE, SCREENSHOTS = BUILD / "html", BUILD / "screenshots"
WIDTHS = {"phone": 390, "desk": 1400}
LOOKED_AT = [
    "index",
    "quickstart",
    "which-method",
    "gallery",
    "coming-from",
    "concepts",
    "tutorials/saliency-and-smoothgrad",
    "tutorials/training",
    "generated/tfsaliency.SmoothGrad",
    "generated/tfsaliency.transforms",
]
# It is root's browser where the suite runs as root, and asks nobody for news.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--disable-component-update", "--no-first-run"]


@pytest.fixture(scope="module")
def browser():
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").exists():
        pytest.skip(f"no site at {SITE}: make docs")
    return HOME


def answer(route):
    """The file of the site that is asked for. No server stands between: a full queue of its own would be a timeout."""
    path = SITE / unquote(urlsplit(route.request.url).path).lstrip("/")
    if path.is_file():
        route.fulfill(path=path)
    else:
        route.fulfill(status=404)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two maps of a picture whose name and label would like to be run."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype("float32")
    path = tmp_path_factory.mktemp("report") / "report.html"
    explanations = [tfs.Gradient(model).explain(image, 1), tfs.GradCAM(model).explain(image, 1)]
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>.png"
    tfs.plot.report(explanations, path, names=[hostile], labels=["cat", hostile])
    return path.as_uri()


@pytest.fixture
def watch(browser):
    """Opens pages that are watched, and closes them after the test."""
    opened = []

    def watch(home, **options):
        opened.append(browser.new_page(**options))
        return Watched(opened[-1], home)

    yield watch
    for page in opened:
        page.close()


class Watched:
    """A page, and all that goes wrong on it or leaves for somewhere else."""

    def __init__(self, page, home):
        self.page = page
        # Half a minute, the default, has passed on a machine whose processors were busy with other tests.
        self.page.set_default_timeout(120_000)
        self.page.route(f"{HOME}/**", answer)
        self.trouble = []
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.note(message.text))
        self.page.on("pageerror", lambda error: self.note(error))
        self.page.on("dialog", lambda dialog: self.note(f"dialog {dialog.message}") or dialog.dismiss())
        # What is aborted is the icon of a page that we left; what is not there is noted with its answer.
        self.page.on(
            "requestfailed", lambda r: "ABORTED" in r.failure or self.note(f"failed {r.url[:100]} {r.failure}")
        )
        self.page.on("response", lambda response: response.status >= 400 and self.note(f"missing {response.url}"))
        self.page.on("request", lambda request: self.check_home(request.url, home))

    def note(self, what):
        self.trouble.append(f"{self.page.url}: {what}")

    def check_home(self, url, home):
        if not url.startswith((home, "data:")):
            self.note(f"asks {url[:100]}")

    def open(self, url):
        self.page.goto(url)
        broken = "Array.from(document.images).filter(i => !i.complete || !i.naturalWidth).map(i => i.src.slice(0, 80))"
        for source in self.page.evaluate(broken):
            self.note(f"no picture {source}")
        return self.page


def picture_of(element):
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"))


def shoot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name.replace('/', '-')}.png", full_page=True)


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def test_every_page_loads_whole_and_asks_nobody(watch, site):
    watched = watch(site)
    pages = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
    assert len(pages) > 50
    for page in pages:
        watched.open(f"{site}/{page}")
    assert watched.trouble == []


def test_links_inside_the_site_lead_somewhere(watch, site):
    watched = watch(site)
    links = set()
    for name in LOOKED_AT:
        links |= set(watched.open(f"{site}/{name}.html").evaluate("Array.from(document.links).map(a => a.href)"))
    inside = {link.split("#")[0] for link in links if link.startswith(site)}
    missing = [link for link in inside if not (SITE / link.removeprefix(site).strip("/")).exists()]
    assert len(inside) > 50
    assert missing == []


def test_search_finds_smoothgrad(watch, site):
    watched = watch(site)
    page = watched.open(f"{site}/index.html")
    page.locator("input[name=q]:visible").first.fill("SmoothGrad")
    page.keyboard.press("Enter")
    found = page.locator("ul.search li a")
    found.first.wait_for()
    page.wait_for_function("document.querySelector('.search-summary')?.textContent.includes('found')")
    titles = found.all_text_contents()
    assert "tfsaliency.SmoothGrad" in titles
    assert "Saliency and SmoothGrad" in titles
    shoot(page, "search")
    assert watched.trouble == []


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_the_layout_holds(watch, site, name, size):
    watched = watch(site, viewport={"width": WIDTHS[size], "height": 900})
    page = watched.open(f"{site}/{name}.html")
    shoot(page, f"{name}-{size}")
    assert overflow(page) <= 0


def test_dark_mode_is_dark(watch, site):
    watched = watch(site, color_scheme="dark")
    page = watched.open(f"{site}/index.html")
    shoot(page, "index-dark")
    assert picture_of(page.locator("article")).mean() < 100


@pytest.mark.parametrize("size", WIDTHS)
def test_a_report_loads_whole_asks_nobody_and_fits(watch, report, size):
    watched = watch(report, viewport={"width": WIDTHS[size], "height": 900})
    page = watched.open(report)
    shoot(page, f"report-{size}")
    assert page.locator("img").count() == 2
    assert overflow(page) <= 0
    assert watched.trouble == []


def test_the_slider_goes_from_the_input_to_the_map(watch, report):
    page = watch(report).open(report)
    given, gradient = page.locator(".layers").first, page.locator(".layers").nth(1)

    def at(value):
        page.locator("#opacity").fill(str(value))
        assert page.locator("#share").text_content() == f"{value} %"
        return picture_of(gradient).astype(int)

    start, half, end = at(0), at(50), at(100)
    np.testing.assert_array_equal(start, picture_of(given))
    assert np.abs(end - start).mean() > 20
    assert np.abs(half - (start + end) / 2).max() <= 2


def test_a_click_on_a_target_shows_its_maps(watch, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)])
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")
    explanation = tfs.Gradient(model).explain(images, tfs.target.each([0, 1, tfs.target.contrast(0, 1)]))
    explanation.report(tmp_path / "report.html", labels=["cat", "dog", "fish"])
    watched = watch(tmp_path.as_uri())
    page = watched.open((tmp_path / "report.html").as_uri())
    shown = page.locator("figure[data-target]:visible")

    def targets():
        return [each.get_attribute("data-target") for each in shown.all()]

    assert targets() == ["0 cat", "0 cat"]
    page.get_by_text("0 cat, not 1 dog", exact=True).locator("visible=true").nth(1).click()
    assert targets() == ["0 cat", "0 cat, not 1 dog"]
    page.keyboard.press("ArrowLeft")
    assert targets() == ["0 cat", "1 dog"]
    assert watched.trouble == []


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.SmoothGradSquared])
def test_the_pointer_reads_the_value_of_each_place(watch, tmp_path, method):
    model = keras.Sequential([keras.Input((4, 6, 3)), layers.Flatten(), layers.Dense(2)])
    explanation = method(model).explain(np.random.default_rng(0).uniform(size=(1, 4, 6, 3)), 0)
    explanation.report(tmp_path / "report.html")
    watched = watch(tmp_path.as_uri())
    page = watched.open((tmp_path / "report.html").as_uri())
    signed = explanation.meaning == "signed"
    flat = explanation.values[0].sum(axis=-1) if signed else explanation.values[0].max(axis=-1)
    limit = np.percentile(np.abs(flat), 99)
    box = page.locator(".layers").nth(1).bounding_box()
    ends = 0
    for row, column in np.ndindex(flat.shape):
        page.mouse.move(box["x"] + (column + 0.3) * box["width"] / 6, box["y"] + (row + 0.7) * box["height"] / 4)
        place, value = page.locator("#value").text_content().split(": ")
        assert place == f"row {row}, column {column}"
        ends += "or" in value
        assert abs(float(value.split()[0]) - np.clip(flat[row, column], -limit, limit)) < 0.02 * limit
        assert ("or more" in value) == (flat[row, column] > limit * (254 if signed else 255) / 256)
    assert ends >= 1
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] + 200)
    assert page.locator("#value").is_hidden()
    assert watched.trouble == []
