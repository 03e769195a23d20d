"""The HTML report in a real headless browser: ROBAUDIT_BROWSER, or a chromium or chrome on the path."""

import os
import shutil
import tempfile

import pytest

from robaudit.cli import run
from tests.reports.page_checks import problems

BROWSER = os.environ.get("ROBAUDIT_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here; set ROBAUDIT_BROWSER to one")
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def report(audited, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    model = str(audited / "honest.safetensors")
    picture = str(folder / "a.png")
    run(["landscape", model, "--dataset", "digits", "--images", "2", "--grid", "21", "--out", picture])
    page = folder / "report.html"
    arguments = ["--format", "html", "--landscape", str(folder / "a.npz"), "--out", str(page)]
    assert run(["report", str(audited / "honest.evidence"), *arguments]) == 0
    return page


@pytest.fixture(scope="module")
def browser():
    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as play:
        os.environ["XDG_CONFIG_HOME"] = folder
        found = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, report):
    """Open the page in a context of these settings, and see that it complains of nothing and asks for nothing."""
    contexts, complaints, requests = [], [], []

    def go(**settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_it_opens_offline_and_turns_the_landscape(visit):
    page = visit(offline=True)
    assert page.inner_text("h1") in ("NOTHING FOUND", "INCONCLUSIVE")
    surface = page.locator("svg.surface").first
    still = surface.inner_html()
    surface.focus()
    page.keyboard.press("ArrowLeft")
    turned = surface.inner_html()
    assert turned != still
    box = surface.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 80)
    page.mouse.up()
    assert surface.inner_html() != turned
    loaded = page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert loaded
    assert page.evaluate("document.images.length") > 0


def test_the_script_draws_what_the_page_drew(visit):
    """The surface before the script runs and after are the same picture."""
    first = visit(java_script_enabled=False)
    still = first.locator("svg.surface .cells").first.inner_html()
    second = visit()
    drawn = second.locator("svg.surface .cells").first.inner_html()

    def cells(markup):
        return sorted(item.split('points="')[1].split('"')[0] for item in markup.split("<polygon")[1:])

    ours, theirs = cells(still), cells(drawn)
    assert len(ours) == len(theirs) == 400
    numbers = [[float(n) for pair in cell.split() for n in pair.split(",")] for cell in (*ours, *theirs)]
    pairs = zip(numbers[:400], numbers[400:], strict=True)
    differences = [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert sum(value <= 0.11 for value in differences) > 390  # heights are rounded for the script


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_nothing_is_cut_off_covered_or_faint(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("nav.contents").is_visible() == (width == 1280)


def test_it_prints_on_few_pages_with_nothing_cut_off(visit, report):
    page = visit(viewport={"width": 718, "height": 800}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert problems(page) == []
    assert page.pdf(format="A4").count(b"/Type /Page\n") <= 8
    assert report.stat().st_size < 400_000


def test_dark_mode_and_print_change_the_colours(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert light.evaluate(ground) == "rgb(255, 255, 255)"
    assert dark.evaluate(ground) == "rgb(21, 22, 26)"
    dark.emulate_media(media="print", color_scheme="dark")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"
    assert dark.pdf()[:4] == b"%PDF"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_board_sorts_and_filters(browser, audited, tmp_path, width):
    assert run(["board", str(audited), "--out", str(tmp_path)]) == 0
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="dark")
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "index.html").as_uri())
    assert problems(page) == []
    names = lambda: page.locator("tbody tr:visible td:nth-child(2) a").all_inner_texts()  # noqa: E731
    assert names() == ["honest.safetensors", "masked.safetensors"]
    cells = page.locator("tbody td:nth-child(7)")
    for falls in (False, True):
        page.get_by_role("button", name="AutoAttack").click(timeout=5000)
        shown = [float(text) for text in cells.evaluate_all("items => items.map(item => item.dataset.sort)")]
        assert shown == sorted(shown, reverse=falls)
    page.select_option("#outcome", "overestimated", timeout=5000)
    assert names() == ["masked.safetensors"]
    page.fill("#search", "nothing like it", timeout=5000)
    assert names() == []
    assert page.inner_text("#shown") == "0 of 2"
    assert complaints == []
    context.close()


def test_nothing_of_a_stranger_runs(browser, report):
    """Even markup that got into the page would find the policy closed."""
    context = browser.new_context()
    page = context.new_page()
    evil = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    target = report.with_name("evil.html")
    target.write_text(report.read_text().replace("<main>", f"<main>{evil}"))
    page.goto(target.as_uri())
    assert page.title() != "owned"
    context.close()
