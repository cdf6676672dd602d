"""The page in a real browser: drawing, watching, playing, links, keys, fingers, a phone's width."""

import re

import pytest

pytest.importorskip("selenium", reason="needs selenium, which the extra dev installs")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from metarl.explore.board import Board
from metarl.explore.page import Page
from metarl.explore.players import Players
from tests.metarl.explore import chromium

WHY_NOT = chromium.missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

ROW = Board(("#######", "#.....#", "#######"), (1, 1), (1, 4))


@pytest.fixture(scope="module")
def address(arena, tmp_path_factory):
    with chromium.served(Page(arena, Players(arena, tmp_path_factory.mktemp("no-runs")))) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def see(browser, address):
    """The page as somebody sees it; at the end nothing may have gone wrong."""
    browser.screen(1280, 900)
    yield See(browser, address)
    assert browser.complaints() == []


class See:
    """What one does on the page, and sees."""

    def __init__(self, browser, address):
        self.browser, self.driver, self.address = browser, browser.driver, address

    def open(self, fragment=""):
        self.browser.complaints()
        self.browser.open(f"{self.address}#{fragment}")
        self.settle()

    def settle(self):
        """Wait until the trial is there."""
        busy = "return document.querySelector('#stage[aria-busy]') === null"
        self.browser.wait(lambda: self.browser.run(busy))

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).text

    def click(self, selector):
        element = self.one(selector)
        self.browser.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def choose(self, field, value):
        Select(self.one(f"#{field}")).select_by_value(value)
        self.settle()

    def set(self, field, value):
        script = "arguments[0].value = arguments[1];" + "".join(
            f"arguments[0].dispatchEvent(new Event('{name}', {{bubbles: true}}));"
            for name in ("input", "change")
        )
        self.browser.run(script, self.one(f"#{field}"), str(value))
        self.settle()

    def tool(self, name):
        self.click(f"input[value={name}] + span")

    def link(self):
        return self.driver.current_url.partition("#")[2]

    def board(self):
        """The maze, as the link says it."""
        return Board.of_code(re.search(r"maze=([^&]+)", self.link())[1])

    def at(self, row, column, lane="agent"):
        """Where a cell is on the screen."""
        canvas = self.one(f".lane[data-role={lane}] canvas.maze")
        self.browser.run("arguments[0].scrollIntoView({block: 'center'})", canvas)
        box = self.browser.run(
            "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.width]",
            canvas,
        )
        side = box[2] / len(self.board().rows[0])
        return round(box[0] + (column + 0.5) * side), round(box[1] + (row + 0.5) * side)

    def drag(self, *cells):
        """Press the mouse on the first of these cells, and draw to the others."""
        mouse = ActionChains(self.driver, duration=20)
        pointer = mouse.w3c_actions.pointer_action
        pointer.move_to_location(*self.at(*cells[0]))
        pointer.pointer_down()
        for cell in cells[1:]:
            pointer.move_to_location(*self.at(*cell))
        pointer.pointer_up()
        mouse.perform()

    def wait_for_maze(self, differs):
        self.browser.wait(lambda: self.board() != differs)
        self.settle()

    def finish(self):
        """Run the trial to its end, as fast as it goes."""
        self.set("speed", 6)
        self.click("#run")
        over = "const t = document.getElementById('time'); return t.value > 0 && t.value === t.max"
        self.browser.wait(lambda: self.browser.run(over))

    def finds(self, lane="agent"):
        return int(self.text(f".lane[data-role={lane}] [data-of=finds]"))


def test_draw_a_maze_and_see_an_agent_reach_the_goal(see):
    see.open("agent=mazes9")
    see.set("size", 9)
    see.choose("source", "empty")
    see.tool("start")
    see.drag((1, 1))
    see.tool("goal")
    see.drag((3, 5))
    see.browser.wait(lambda: (see.board().start, see.board().goal) == ((1, 1), (3, 5)))
    see.tool("wall")
    see.drag((2, 1), (2, 6))
    see.browser.wait(lambda: see.board().rows[2] == "#######.#")
    see.drag((4, 7), (4, 2))
    see.browser.wait(lambda: see.board().rows[4] == "#.#######")
    see.drag((4, 3))  # and one is torn down again
    see.browser.wait(lambda: see.board().rows[4] == "#.#.#####")
    see.settle()
    see.tool("look")
    see.finish()
    assert see.finds() > 0
    assert "mazes9 found the goal at step" in see.text("#said") or "finds in" in see.text("#said")
    names = [row.text.split()[0] for row in see.driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert names == ["floor", "mazes9", "explorer", "oracle"]


def test_a_maze_without_a_way_is_told_and_mended(see):
    see.open(f"maze={ROW.code}&agent=mazes9")
    assert see.text("#clock") == "0 / 100"
    see.tool("wall")
    see.drag((1, 2))
    see.browser.wait(lambda: "cannot be reached" in see.text("#problem"))
    assert not see.one("#run").is_enabled()
    see.click("#undo")
    see.browser.wait(lambda: see.one("#run").is_enabled())
    assert not see.one("#problem").is_displayed()
    assert see.board() == ROW


def test_everything_goes_by_keys(see):
    see.open(f"maze={ROW.code}&agent=mazes9")

    def press(*keys):
        ActionChains(see.driver).send_keys(*keys).perform()

    def focused(script):
        return see.browser.run(f"return document.activeElement.{script}")

    see.browser.run("document.activeElement.blur()")
    press(Keys.TAB)
    assert focused("textContent") == "Skip to the maze"
    for _ in range(10):
        press(Keys.TAB)
        if focused("name") == "tool":
            break
    press(Keys.ARROW_RIGHT)
    assert focused("value") == "wall"
    for _ in range(10):
        press(Keys.TAB)
        if focused("className").startswith("maze"):
            break
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.SPACE)
    see.wait_for_maze(ROW)
    assert see.board().rows[1] == "#....##"
    assert "Row 1, column 5: wall" in focused("ariaLabel")
    ActionChains(see.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    see.browser.wait(lambda: see.board() == ROW)
    see.settle()
    see.tool("look")
    see.browser.run("document.querySelector('canvas.maze').focus()")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert see.text("#clock") == "1 / 100"
    press(Keys.SPACE)
    assert see.text("#run") == "Pause"
    press(Keys.SPACE)
    assert see.text("#run") == "Run"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert see.browser.run(f"return {outline}") != "none"


def test_a_link_brings_everything_back(see):
    fragment = f"maze={ROW.code}&agent=mazes13&beside=room13-lstm&seed=3&rule=start&steps=40"
    see.open(f"{fragment}&greedy=1")
    assert see.link() == f"{fragment}&greedy=1"
    assert see.board() == ROW
    assert see.text("#clock") == "0 / 40"
    see.finish()
    first = [see.finds(lane) for lane in ("agent", "beside")]
    see.open(f"{fragment}&greedy=1")
    see.finish()
    assert [see.finds(lane) for lane in ("agent", "beside")] == first


def test_a_damaged_link_is_told(see):
    see.open("maze=13x13.AAA.1.2&agent=nobody&seed=x&steps=-3&rule=fly")
    said = see.text("#problem")
    assert "There is no agent nobody" in said
    assert "copy the whole link" in said
    assert see.text("#clock") == "0 / 200"  # and there is something to go on with
    (complaint,) = see.browser.complaints()
    assert "api/maze" in complaint
    see.open("agent=bandit-rl2")
    assert "plays bandit, not mazes" in see.text("#problem")


def test_two_agents_in_one_maze(see):
    see.open("agent=mazes13")
    see.choose("beside", "mazes9")
    titles = [head.text for head in see.driver.find_elements(By.CSS_SELECTOR, ".lane h2")]
    assert titles == ["mazes13", "mazes9"]
    lanes = see.driver.find_elements(By.CSS_SELECTOR, ".lane canvas.maze")
    assert lanes[0].location["y"] == lanes[1].location["y"]  # side by side
    see.finish()
    steps = [see.text(f".lane[data-role={lane}] [data-of=step]") for lane in ("agent", "beside")]
    assert steps[0] == "200 / 200"
    assert see.one(".lane[data-role=beside] tbody tr.own").text.startswith("mazes9")


def test_a_film_is_replayed(see, arena, tmp_path):
    see.open("agent=mazes9&steps=20&rule=random")
    see.set("seed", 4)
    see.click("#film")
    see.browser.wait(lambda: see.text("#run") == "Pause")
    page = Page(arena, Players(arena, tmp_path))
    assert see.board().code == page.maze({"agent": "mazes9", "seed": 4})["maze"]["code"]
    assert "rule" not in see.link()
    assert "steps" not in see.link()
    see.browser.wait(lambda: int(see.text("#clock").split()[0]) > 2)  # it runs
    see.click("#run")
    trial = page.trial({"maze": see.board().code, "agent": "mazes9", "seed": 4})
    see.set("time", 100)
    assert see.finds() == len(trial["finds"])


def test_play_by_keys_and_by_buttons(see):
    see.open(f"maze={ROW.code}&agent=keys&beside=mazes9&rule=start")
    hidden = not see.one("#show-goal").is_selected()
    assert hidden
    see.browser.run("document.querySelector('.lane[data-role=agent] canvas.maze').focus()")
    ActionChains(see.driver).send_keys(Keys.ARROW_RIGHT, "d").perform()
    see.browser.wait(lambda: see.text(".lane [data-of=step]").startswith("2 /"))
    see.click(".pad [data-move='3']")
    see.browser.wait(lambda: see.finds() == 1)
    assert see.text("#said").startswith("You found the goal at step 3.")
    assert see.text(".lane [data-of=way]") == "3 steps"
    see.click(".pad [data-again]")
    see.browser.wait(lambda: see.text(".lane [data-of=step]").startswith("0 /"))


def test_a_phone(see):
    see.browser.screen(360, 740, phone=True, scale=2)
    see.open(f"maze={ROW.code}&agent=keys&beside=mazes13&rule=start")
    wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
    assert see.browser.run(wide) == [360, 360]
    small = see.browser.run(
        "return [...document.querySelectorAll('button, select, input[type=number], .tools span')]"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 34)"
        ".map((e) => e.id || e.textContent)"
    )
    assert small == []  # large enough for fingers
    see.choose("agent", "mazes9")
    see.tool("wall")
    x, y = see.at(1, 5)
    see.browser.touch("touchStart", (x, y))
    see.browser.touch("touchEnd")
    see.wait_for_maze(ROW)
    assert see.board().rows[1] == "#....##"
    see.browser.prefer(color_scheme="dark")
    dark = see.browser.run("return getComputedStyle(document.body).backgroundColor")
    see.browser.prefer(color_scheme="light")
    light = see.browser.run("return getComputedStyle(document.body).backgroundColor")
    assert dark != light
    see.browser.prefer()
