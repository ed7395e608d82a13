"""A page without its files or without JavaScript says what is missing, and has no control that does nothing."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import written
from tests.browser.test_page import REPORTS, URL

DATA = "page/data.js"


def sentences(page, part):
    """What a reader sees in place of a part."""
    return [text.inner_text() for text in page.locator(f"#{part} .missing").all() if text.is_visible()]


def controls(page, part):
    return [each for each in page.locator(f"#{part} :is(select, button, input)").all() if each.is_visible()]


def assert_nobody_is_shut_out(page):
    violations = Axe().run(page).response["violations"]
    serious = [violation["id"] for violation in violations if violation["impact"] in ("serious", "critical")]
    assert serious == []


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def of_another_run(path):
    written(path.parents[1] / "other", run="4567")
    shutil.copyfile(path.parents[1] / "other" / DATA, path)


def empty(path):
    path.write_text("window.PAGE = {};\n")


def of_before(path):
    """As the project wrote it before the data knew its run."""
    path.write_text(path.read_text().replace(',"run":"0123"', ""))


def unlink(path):
    path.unlink()


def a_folder_less(path):
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_alone_says_what_it_needs(opened, tmp_path, width):
    shutil.copyfile(REPORTS / "index.html", tmp_path / "index.html")
    page = opened((tmp_path / "index.html").as_uri(), width=width, ready="#explorer .missing")
    for part, what in (("explorer", "The explorer needs"), ("curves", "The curves need")):
        (sentence,) = sentences(page, part)
        assert sentence == (
            f"{what} {DATA}, which is missing or damaged: copy the whole folder page of the same run next to this page."
        )
        assert controls(page, part) == []
    page.locator("#figures summary").first.click()
    page.wait_for_selector("#figures .missing")
    (sentence,) = sentences(page, "figures")
    name = page.locator("#figures img").first.get_attribute("src")
    assert sentence.startswith(f"This figure needs {name}, which is missing or damaged: copy the whole folder figures")
    assert page.locator("#figures img").first.get_attribute("alt") != ""
    # Tables are in the page itself.
    page.locator(".table:not([hidden]) th button").first.click()
    assert page.locator("th[aria-sort=descending]").count() == 1
    assert_nobody_is_shut_out(page)
    # The browser tells which files it lacks; the scripts themselves do not fail.
    assert all("ERR_FILE_NOT_FOUND" in message for message in page.messages)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_without_javascript_every_table_is_there_and_no_control(opened, tmp_path, width, alone):
    shutil.copyfile(REPORTS / "index.html", tmp_path / "index.html")
    url = (tmp_path / "index.html").as_uri() if alone else URL
    page = opened(url, width=width, scripts=False, ready="footer")
    for part in ("explorer", "tables", "curves"):
        (sentence,) = sentences(page, part)
        assert "JavaScript" in sentence
        assert "allow it" in sentence
    assert [each for part in ("explorer", "tables", "curves", "figures") for each in controls(page, part)] == []
    files = list((REPORTS / "tables").glob("*.md"))
    visible = [table for table in page.locator(".table").all() if table.is_visible()]
    assert len(visible) == len(files)
    titles = {table.locator("h3").inner_text().replace(" ", "_") for table in visible}
    assert titles == {path.stem for path in files}
    summary = page.locator("#figures summary").first
    summary.click()
    assert page.locator("#figures img").first.is_visible()


@pytest.mark.parametrize("damage", [unlink, a_folder_less, truncate, empty, of_another_run, of_before])
def test_data_that_is_not_the_pages_own_is_named_once_in_each_part(opened, tmp_path, damage):
    index = written(tmp_path)
    damage(tmp_path / DATA)
    page = opened(index.as_uri(), ready="#curves .missing")
    for part in ("explorer", "curves"):
        (sentence,) = sentences(page, part)
        assert DATA in sentence
        assert ("another run" in sentence) == (damage in (of_another_run, of_before))
        assert sentence.endswith("copy the whole folder page of the same run next to this page.")
        assert controls(page, part) == []
    assert len(controls(page, "tables")) == 3
    assert_nobody_is_shut_out(page)


@pytest.mark.parametrize("damage", [unlink, truncate])
def test_a_plotting_library_that_is_not_there_takes_no_other_part_along(opened, tmp_path, damage):
    index = written(tmp_path)
    damage(tmp_path / "page" / "vega.js")
    page = opened(index.as_uri())
    (sentence,) = sentences(page, "curves")
    assert sentence.startswith("The curves need page/vega.js, which is missing or damaged: copy the whole folder page")
    assert controls(page, "curves") == []
    assert sentences(page, "explorer") == []


def another_size(path):
    shutil.copyfile(path.parents[2] / "figures" / "one.png", path)


@pytest.mark.parametrize("damage", [unlink, truncate, another_size, empty])
def test_maps_without_their_sheet_are_said_to_lack_it_and_the_next_image_is_shown(opened, tmp_path, damage):
    index = written(tmp_path)
    sheet = tmp_path / "page" / "images" / "000.png"
    damage(sheet)
    page = opened(index.as_uri(), ready="#maps .missing")
    (sentence,) = sentences(page, "explorer")
    assert sentence.startswith("These maps need page/images/000.png, which is missing or damaged")
    assert page.locator("#maps canvas[aria-label]").count() == 0  # no picture is announced that is not there
    assert "ROC-AUC 71.3 %" in page.inner_text("#maps")
    assert_nobody_is_shut_out(page)
    page.click("#next")
    page.wait_for_selector("#maps[data-shown^='1-']")
    assert sentences(page, "explorer") == []


@pytest.mark.parametrize("damage", [unlink, truncate, empty])
def test_a_figure_that_is_not_there_keeps_its_words_and_says_so(opened, tmp_path, damage):
    index = written(tmp_path)
    damage(tmp_path / "figures" / "one.png")
    page = opened(index.as_uri())
    page.click("summary")
    page.wait_for_selector("#figures .missing")
    (sentence,) = sentences(page, "figures")
    assert sentence.startswith("This figure needs figures/one.png, which is missing or damaged: copy the whole folder")
    assert page.get_by_role("img", name="Picture: one").is_visible()


def test_a_page_that_is_whole_says_nothing_of_the_kind(opened, tmp_path):
    page = opened(written(tmp_path).as_uri())
    page.click("summary")
    page.evaluate("document.getElementById('curves').scrollIntoView()")
    page.wait_for_selector("#charts[data-shown] svg")
    assert [each for part in ("explorer", "tables", "curves", "figures") for each in sentences(page, part)] == []
    assert page.messages == []
