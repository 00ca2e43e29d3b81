"""The live page in a browser: a person comes with a file, and moves what can be moved."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm_core import build, parse_spec
from icm_core.bitstream.container import read
from icm_core.pictures import png_bytes
from icm_core.pipeline.told import told
from icm_serve.limits import Limits

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed; it is in the extra test")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium and chromedriver are not on the PATH (Debian: chromium, chromium-driver)"
)
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page of a service in a browser."""

    def __init__(self, driver: Any, port: int, folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self.address = f"http://127.0.0.1:{port}/"
        driver.get_log("browser")
        driver.get_log("performance")
        driver.get(self.address)
        # The driver may say that a page is there before its modules have run.
        ready = "return document.getElementById('quality').max !== '' || document.getElementById('gate').open"
        self.until(lambda: self.run(ready))

    def __getitem__(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, holds: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, 30, poll_frequency=0.05).until(lambda _: holds())

    def saved(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def pick(self, name: str, content: bytes) -> None:
        """A person chooses a file and waits for what comes of it."""
        self["file"].send_keys(str(self.saved(name, content)))
        self.done()

    def done(self) -> None:
        self.until(lambda: "ecoded in" in self["status"].text)

    def moved(self, name: str, *keys: str) -> None:
        """A slider is moved by keys."""
        before = self["bytes"].text
        self[name].send_keys(*keys)
        self.until(lambda: self["bytes"].text != before)
        self.done()

    def choose(self, side: str, label: str) -> None:
        Select(self[side]).select_by_visible_text(label)
        self.until(lambda: label.lower() in self[f"{side}-caption"].text.lower())

    def offered(self, side: str) -> list[str]:
        return [one.text for one in Select(self[side]).options]

    @property
    def bytes(self) -> int:
        return int(self["bytes"].text.replace(",", ""))

    def pixels(self, side: str) -> Any:
        """What a side shows, (H, W, 3), as the browser has decoded it."""
        script = """const image = document.getElementById(arguments[0]), canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");"""
        body = self.run(script, f"{side}-image").partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))

    def screen(self, width: int, height: int = 844) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def asked(self) -> list[str]:
        """Addresses that the browser has loaded anything from."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]


@pytest.fixture
def open_page(chromium: Any, serve: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Page]]:
    yield lambda *arguments, **more: Page(chromium, serve(*arguments, **more).port, tmp_path)
    chromium.get("about:blank")  # connections are closed, so that services can end
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


def drop(page: Page, name: str, content: bytes, kind: str = "drop") -> None:
    """A file is dropped on the page, or pasted."""
    script = """const [body, name, kind] = arguments, items = new DataTransfer();
        items.items.add(new File([Uint8Array.from(atob(body), (one) => one.charCodeAt(0))], name));
        const how = {bubbles: true, cancelable: true};
        const event = kind === "paste" ? new ClipboardEvent(kind, {...how, clipboardData: items})
                                       : new DragEvent(kind, {...how, dataTransfer: items});
        return document.body.dispatchEvent(event);"""
    assert page.run(script, base64.b64encode(content).decode(), name, kind) is False, "nobody took it"


# --- a picture comes in ----------------------------------------------------------------------------------------------


def test_a_picture_is_picked_and_its_figures_are_shown(page, pipe, photo, png) -> None:
    page.pick("a photo.png", png)
    blob = pipe.encode(photo, 3)
    file = read(blob)
    assert page.bytes == len(blob) and page["bpp"].text == f"{8 * len(blob) / (40 * 56):.3f}"
    assert page["name"].text == "a photo.png, 56×40"
    rows = [row.split("\n") for row in (one.text for one in page["layers"].find_elements(By.TAG_NAME, "li"))]
    assert rows == [
        ["base", f"{len(file.layers[0].payload)} bytes"],
        ["enhancement", f"{len(file.layers[1].payload):,} bytes"],
        ["headers", "35 bytes"],
    ]
    widths = page.run("return [...document.getElementById('bar').children].map((one) => one.offsetWidth)")
    shares = [len(layer.payload) / len(blob) for layer in file.layers]
    assert widths[1] / sum(widths) == pytest.approx(shares[1], abs=0.05)
    assert page.complaints() == []


def test_nothing_is_asked_of_anybody_else(page, png) -> None:
    page.pick("a.png", png)
    page.choose("right", "JPEG")
    asked = page.asked()
    paths = {one.removeprefix(page.address).partition("?")[0] for one in asked if not one.startswith("blob:")}
    assert paths >= {"", "page.css", "main.js", "models", "limits", "encode", "info", "decode", "compare"}
    assert all(one.startswith((page.address, f"blob:{page.address}")) for one in asked), asked
    assert page.complaints() == []


def test_the_picture_can_be_seen(page, png) -> None:
    page.pick("a.png", png)
    shot = Image.open(io.BytesIO(page["stage"].screenshot_as_png)).convert("RGB")
    assert len(shot.getcolors(2**24)) > 500
    whole = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    assert len(whole.getcolors(2**24)) > 500 and min(whole.size) > 700


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page, pipe, photo, png, kind) -> None:
    drop(page, "a.png", png, kind)
    page.done()
    assert page.bytes == len(pipe.encode(photo, 3)) and page.complaints() == []


def test_a_large_picture_is_scaled_down_and_the_page_says_so(page, pipe) -> None:
    large = Image.effect_noise((1500, 1000), 80).convert("RGB")
    page.pick("large.png", png_bytes(large))
    assert page["name"].text == "large.png, 1225×816" and "scaled from 1500×1000" in page["status"].text
    Select(page["size"]).select_by_visible_text("as it is")
    page.until(lambda: "1500×1000" in page["name"].text)
    page.done()
    assert page.bytes == len(pipe.encode(large, 3)) and "scaled" not in page["status"].text


# --- what can be moved -----------------------------------------------------------------------------------------------


def test_quality_changes_the_file(page, pipe, photo, png) -> None:
    page.pick("a.png", png)
    for keys, quality in (([Keys.ARROW_LEFT] * 3, 2.25), ([Keys.END], 4), ([Keys.HOME], 1)):
        page.moved("quality", *keys)
        assert page["quality-says"].text == f"{quality:g}"
        assert page.bytes == len(pipe.encode(photo, quality))
    assert np.array_equal(page.pixels("right"), told(pipe, pipe.decode(pipe.encode(photo, 1)))["fine"].picture)
    assert page.complaints() == []


def test_the_last_of_many_moves_counts(page, pipe, photo, png) -> None:
    page.pick("a.png", png)
    for key in (Keys.HOME, Keys.END, Keys.HOME, Keys.ARROW_RIGHT):
        page["quality"].send_keys(key)
        page.run("return new Promise((done) => setTimeout(done, 260))")  # longer than a move is waited for
    last = len(pipe.encode(photo, 1.25))
    page.until(lambda: page.bytes == last)
    page.done()
    assert page.bytes == last and not page["error"].is_displayed()


def test_the_enhancement_can_be_left_out(page, pipe, photo, png) -> None:
    page.pick("a.png", png)
    page.choose("left", "fine")
    page["enhancement"].click()
    page.until(lambda: "enhancement" not in page["layers"].text)
    page.done()
    assert page.bytes == len(pipe.encode(photo, 3, enhancement=False))
    assert "fine" not in page.offered("left")
    assert page["left-caption"].text == page["right-caption"].text == f"coarse, from {page.bytes} bytes"


def test_the_search_is_there_where_there_is_one(page, open_page, monkeypatch, pipe, photo, png) -> None:
    page.pick("a.png", png)
    assert not page["effort-setting"].is_displayed()
    asked: list[int] = []
    monkeypatch.setattr(type(pipe.codec), "searches", True)
    plain = pipe.encode_batch

    def encode_batch(pictures: Any, *, effort: int, **how: Any) -> list[bytes]:
        asked.append(effort)  # the tiny codec cannot search: that the page asks for it is what is tried here
        return plain(pictures, **how)

    monkeypatch.setattr(pipe, "encode_batch", encode_batch)
    monkeypatch.setattr("icm_serve.models.searched_tasks", lambda *_: ["coarse"])
    other = open_page(Limits(effort=7))
    other.pick("a.png", png)
    other["effort"].send_keys(Keys.END)
    other.until(lambda: asked == [0, 7])
    assert other["effort-says"].text == "7 steps" and asked == [0, 7]


# --- two pictures side by side ---------------------------------------------------------------------------------------


def test_pictures_and_answers_are_laid_side_by_side(page, pipe, photo, png) -> None:
    page.pick("a.png", png)
    assert page.offered("left") == ["Original", "labels", "coarse", "fine", "JPEG", "WebP"] == page.offered("right")
    expected = told(pipe, pipe.decode(pipe.encode(photo, 3)), draw=True)
    assert np.array_equal(page.pixels("left"), photo)
    for name in ("coarse", "fine"):
        page.choose("right", name)
        assert np.array_equal(page.pixels("right"), expected[name].picture)
    page.choose("right", "labels")
    assert np.array_equal(page.pixels("right"), expected["labels"].drawing)
    file = read(pipe.encode(photo, 3))
    assert page["right-caption"].text == f"labels, from {file.base_bytes} bytes"


@pytest.mark.parametrize(("codec", "kind"), [("JPEG", "jpeg"), ("WebP", "webp")])
def test_other_codecs_have_as_many_bytes(page, service, codec, kind) -> None:
    smooth = Image.linear_gradient("L").convert("RGB").resize((256, 192))
    noisy = Image.blend(smooth, Image.effect_noise(smooth.size, 60).convert("RGB"), 0.3)
    page.pick("a.png", png_bytes(noisy))
    page.choose("right", codec)
    answer = service.ask("POST", f"/compare?codec={kind}&bytes={page.bytes}", png_bytes(noisy))
    assert len(answer.body) <= page.bytes
    quality = answer.headers["X-Icm-Codec-Quality"]
    assert page["right-caption"].text == f"{codec}, {len(answer.body):,} bytes, quality {quality}"
    assert page.pixels("right").shape == (192, 256, 3)
    page["enhancement"].click()  # fewer bytes than any file of these codecs
    page.until(lambda: "its smallest; the .icm has" in page["right-caption"].text)


def test_the_border_is_moved(page, png) -> None:
    page.pick("a.png", png)
    page.run("document.getElementById('left-image').style.filter = 'brightness(0)'")
    page.run("document.getElementById('right-image').style.filter = 'brightness(0) invert(1)'")

    def white() -> float:
        shot = Image.open(io.BytesIO(page["stage"].screenshot_as_png)).convert("L")
        row = np.asarray(shot)[shot.height // 8]  # above the handle
        return float((row > 128).mean())

    assert white() == pytest.approx(0.5, abs=0.03)
    page["cut"].send_keys(*[Keys.ARROW_RIGHT] * 25)
    assert white() == pytest.approx(0.25, abs=0.03)
    page["cut"].send_keys(Keys.HOME)
    assert white() == pytest.approx(1, abs=0.03)
    stage = page["stage"]
    webdriver.ActionChains(page.driver).move_to_element_with_offset(
        stage, stage.size["width"] // 4, 0
    ).click().perform()
    assert white() == pytest.approx(0.25, abs=0.03)


def test_the_border_does_not_cut_a_legend_below_the_picture(page, png) -> None:
    page.pick("a.png", png)
    page.choose("right", "labels")
    page["cut"].send_keys(Keys.END)  # all of the picture shows the left side
    height, _, _ = page.pixels("right").shape
    shot = np.asarray(Image.open(io.BytesIO(page["stage"].screenshot_as_png)).convert("L"))
    assert height > 40
    strip = shot[round(shot.shape[0] * 41 / height) + 2 :]
    assert (strip > 250).mean() > 0.3  # the legend's paper


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_words_and_tables(page, pipe, photo, png) -> None:
    page.pick("a.png", png)
    cards = {
        one.find_element(By.TAG_NAME, "h3").text: one for one in page["cards"].find_elements(By.TAG_NAME, "article")
    }
    assert list(cards) == ["labels", "classes"]  # decoded pictures are looked at above
    decoded = pipe.decode(pipe.encode(photo, 3))
    expected = told(pipe, decoded)
    for name, one in cards.items():
        assert expected[name].row["text"] in one.text
    rows = [row.text for row in cards["classes"].find_elements(By.CSS_SELECTOR, "tbody tr")]
    top = expected["classes"].row["top"]
    assert len(rows) == 5
    assert all(row.startswith(f"{one['label']} {one['index']} ") for row, one in zip(rows, top, strict=True))
    assert not cards["classes"].find_elements(By.TAG_NAME, "img")
    cards["labels"].find_element(By.CLASS_NAME, "look").click()
    page.until(lambda: page["right-caption"].text.startswith("labels"))


@pytest.mark.parametrize("enhancement", [True, False])
def test_what_learned_from_other_pictures_is_asked_only_if_a_person_wants_it(
    open_page, registry, pipe, png, photo, enhancement
) -> None:
    spec = pipe.spec.to_json()
    spec["tasks"]["labels"]["trained_on"] = {"data": "one drive", "pictures": "streets"}
    spec["tasks"]["classes"]["trained_on"] = {"data": "a catalogue", "pictures": "objects"}
    learned = build(parse_spec(spec), registry)
    page = open_page(pipes=[learned])
    blob = learned.encode(photo, 2, enhancement=enhancement)
    last = ["fine"] if enhancement else []

    def cards() -> dict[str, Any]:
        found = page["cards"].find_elements(By.TAG_NAME, "article")
        return {one.find_element(By.TAG_NAME, "h3").text: one for one in found}

    def names() -> list[str]:  # at once, for cards come and go
        return page.run("return [...document.querySelectorAll('#cards h3')].map((one) => one.textContent)")

    page.pick("a.icm", blob)
    assert names() == ["classes", "labels"] and page.offered("left") == ["coarse", *last]
    assert "trained on pictures of streets (one drive)" in cards()["labels"].text
    assert "trained on" not in cards()["classes"].text
    cards()["labels"].find_element(By.TAG_NAME, "button").click()
    page.until(lambda: names() == ["labels", "classes"])
    page.done()
    assert page.offered("left") == ["labels", "coarse", *last] and "trained on" not in cards()["labels"].text
    page.choose("right", "labels")
    assert np.array_equal(page.pixels("right"), told(learned, learned.decode(blob), draw=True)["labels"].drawing)
    page.pick("b.png", png)  # of another picture nothing has been said
    page.until(lambda: "Original" in page.offered("left"))
    assert "labels" not in page.offered("left") and page.complaints() == []


def test_a_kind_that_the_page_has_not_heard_of(open_page, registry, png) -> None:
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "needles.compass"}}
    spec = {"icm": 1, "name": "needles", "codec": {"use": "tiny.thumbnail"}, "tasks": {"compass": task}}
    page = open_page(pipes=[build(parse_spec(spec), registry)])
    assert not page["models"].is_displayed()
    page.pick("a.png", png)
    (card,) = page["cards"].find_elements(By.TAG_NAME, "article")
    assert "two <needles>" in card.text  # text, whatever it looks like
    card.find_element(By.TAG_NAME, "summary").click()
    tables = [
        [
            [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")]
            for row in one.find_elements(By.TAG_NAME, "tr")
        ]
        for one in card.find_elements(By.TAG_NAME, "table")
    ]
    assert tables == [
        [["label", "angle", "sure"], ["<b>north</b>", "12", "0.75"], ["south", "1235", "0.125"]],
        [["turn", "by 3, at –"]],
        [["many", "0, 1, 2, 3, 4, 5, 6, 7 … 20 in all"]],
    ]
    script = "return [...arguments[0].querySelectorAll('td.share')].map((one) => one.style.getPropertyValue('--share'))"
    bars = page.run(script, card)
    assert bars == ["75%", "12.5%"]
    assert page.offered("right") == ["Original", "compass", "JPEG", "WebP"]
    shown = page.pixels("right")
    assert shown.shape == (50, 56, 3) and tuple(shown[-1, -1]) == (255, 0, 0)
    assert not page["enhancement-setting"].is_displayed() and page.complaints() == []


def test_one_of_several_models_is_chosen(open_page, registry, pipe, photo, png) -> None:
    spec = {"icm": 1, "name": "other", "codec": {"use": "tiny.thumbnail", "params": {"steps": 5}}}
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}
    other = build(parse_spec({**spec, "description": "One of <two>.", "tasks": {"coarse": task}}), registry)
    page = open_page(pipes=[pipe, other])
    page.pick("a.png", png)
    Select(page["model"]).select_by_visible_text("other")
    page.until(lambda: page.bytes == len(other.encode(photo, 3)))
    page.done()
    assert page["says"].text == "One of <two>." and not page["enhancement-setting"].is_displayed()
    drop(page, "b.icm", pipe.encode(photo, 2))
    page.until(lambda: page["name"].text.startswith("b.icm"))
    page.done()
    assert Select(page["model"]).first_selected_option.text == "tiny"


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_file_is_downloaded(page, pipe, photo, png, tmp_path) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "down")}
    )
    page.pick("my.photo.png", png)
    page.moved("quality", Keys.HOME)
    page["download"].click()
    path = tmp_path / "down/my.photo.icm"
    page.until(path.exists)
    assert path.read_bytes() == pipe.encode(photo, 1)


def test_a_coded_file_is_dropped(page, pipe, photo) -> None:
    blob = pipe.encode(photo, 2.5)
    drop(page, "a.icm", blob)
    page.done()
    assert page.bytes == len(blob) and page["name"].text == "a.icm, 56×40"
    assert page["quality-says"].text == "2.5, when the file was made" and not page["quality"].is_enabled()
    assert page.offered("left") == ["labels", "coarse", "fine"]  # there is no original to compare with
    expected = told(pipe, pipe.decode(blob))
    assert np.array_equal(page.pixels("left"), expected["coarse"].picture)
    assert np.array_equal(page.pixels("right"), expected["fine"].picture)
    assert not page["yardsticks"].is_displayed() and page.complaints() == []


def test_a_picture_follows_a_coded_file(page, pipe, photo, png) -> None:
    drop(page, "a.icm", pipe.encode(photo, 2.5))
    page.done()
    page.pick("b.png", png)
    page.until(lambda: page["name"].text.startswith("b.png"))
    page.done()
    assert page["quality"].is_enabled() and page["quality-says"].text == "3"
    assert page.bytes == len(pipe.encode(photo, 3))


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_sentence_is_seen_wherever_a_person_has_scrolled_to(page, png) -> None:
    page.screen(390, 500)
    page.pick("a.png", png)
    page.run("window.scrollTo(0, document.documentElement.scrollHeight)")
    assert page.run("return window.scrollY") > 300
    drop(page, "b.png", b"no picture")
    page.until(lambda: page["error"].is_displayed())
    top, bottom = page.run(
        "const { top, bottom } = document.getElementById('error').getBoundingClientRect(); return [top, bottom];"
    )
    assert 0 <= top < bottom <= 500
    page.screen(1280, 900)


def test_what_cannot_be_used_is_said_in_a_sentence(page, pipe, photo, png) -> None:
    drop(page, "a.txt", b"no picture")
    page.until(lambda: page["error"].is_displayed())
    assert page["sentence"].text == "The picture is not a picture that Pillow can read."
    assert page["start"].is_displayed() and page["error"].get_attribute("role") == "alert"
    page["dismiss"].click()
    assert not page["error"].is_displayed()
    page.pick("a.png", png)
    drop(page, "b.icm", pipe.encode(photo, 2)[:-1] + b"?")
    page.until(lambda: page["error"].is_displayed())
    assert page["sentence"].text.startswith("The file is damaged: the checksum of its enhancement")
    page.moved("quality", Keys.END)  # the picture of before is still there
    assert page.bytes == len(pipe.encode(photo, 4)) and not page["error"].is_displayed()


def test_a_file_that_is_too_large_is_not_sent(open_page, png) -> None:
    page = open_page(Limits(body=100))
    drop(page, "a.png", png)
    page.until(lambda: page["error"].is_displayed())
    assert page["sentence"].text == f"The file has {len(png):,} bytes; this service takes 100."
    assert not any("/encode" in one for one in page.asked())


def test_a_service_that_has_gone_is_said(serve, open_page, chromium, tmp_path, png) -> None:
    service = serve()
    page = Page(chromium, service.port, tmp_path)
    page.pick("a.png", png)
    service.server.should_exit = True
    service.until(lambda: _refuses(service))
    page["quality"].send_keys(Keys.HOME)
    page.until(lambda: page["error"].is_displayed())
    assert page["sentence"].text.startswith("The service does not answer")


def _refuses(service: Any) -> bool:
    try:
        service.connect().close()
    except OSError:
        return True
    return False


def test_the_token_is_asked_for(open_page, pipe, photo, png) -> None:
    page = open_page(token="sésame")
    page.until(lambda: page["gate"].is_displayed())
    assert page.driver.switch_to.active_element == page["token"] and not page["gate-wrong"].is_displayed()
    page["token"].send_keys("sesame", Keys.ENTER)
    page.until(lambda: page["gate-wrong"].is_displayed())
    page["token"].send_keys(Keys.ESCAPE)
    assert page["gate"].is_displayed()  # nothing goes on without it
    page["token"].send_keys("sésame", Keys.ENTER)
    page.until(lambda: not page["gate"].is_displayed())
    page.pick("a.png", png)
    assert page.bytes == len(pipe.encode(photo, 3))
    assert page.run("return location.search + document.cookie") == ""  # it is nowhere where others would see it
    page.driver.refresh()
    page.until(lambda: page["quality-says"].get_property("textContent"))
    assert not page["gate"].is_displayed()


# --- for everybody ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_small_screen(page, png, width) -> None:
    page.screen(width)

    def over() -> int:
        return page.run("const all = document.documentElement; return all.scrollWidth - all.clientWidth")

    assert over() == 0 and page.run("return innerWidth") == width
    page.pick("a-rather-long-name-without-any-place-to-break-it-as-cameras-and-phones-make-them.png", png)
    page.choose("right", "WebP")
    drop(page, "x", b"no picture")
    page.until(lambda: page["error"].is_displayed())
    assert over() == 0


STOPS = ["left", "right", "cut", "quality", "enhancement", "size", "download", "again"]


def test_everything_is_reached_and_seen_by_keyboard(page, png) -> None:
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.driver.switch_to.active_element == page["file"]
    assert _ringed(page, page["file"].find_element(By.XPATH, ".."))  # the button that stands for it
    page.pick("a.png", png)
    page["left"].click()
    page["left"].send_keys(Keys.ESCAPE)
    seen = []
    for _ in STOPS:
        focused = page.driver.switch_to.active_element
        seen.append(focused.get_attribute("id"))
        if seen[-1] == "cut":
            script = "return getComputedStyle(document.querySelector('.line'), '::after').outlineStyle"
            assert page.run(script) == "solid"
        else:
            assert _ringed(page, focused) or seen[-1] == "left", seen  # a click needs no ring
        webdriver.ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert seen == STOPS
    assert page.driver.switch_to.active_element.get_attribute("class") == "look"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page["right-caption"].text.startswith("labels"))
    assert page.driver.switch_to.active_element == page["cut"]


def _ringed(page: Page, element: Any) -> bool:
    """Whether an element shows that it has the focus."""
    style, width = page.run(
        "const s = getComputedStyle(arguments[0]); return [s.outlineStyle, s.outlineWidth]", element
    )
    return style == "solid" and float(width.removesuffix("px")) >= 2


ROLES = {"slider", "combobox", "button", "checkbox", "link", "textbox", "image", "region"}


def test_everything_has_a_name_for_those_who_listen(page, png) -> None:
    page.pick("a.png", png)
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in ROLES
    ]
    assert [role for role, name in named if not name] == []
    roles = [role for role, _ in named]
    assert {"slider", "combobox", "button", "checkbox", "link", "image"} <= set(roles) and len(named) > 12
    bar = next(name for role, name in named if role == "image" and name.startswith("Layers"))
    assert "base" in bar and "enhancement" in bar and "bytes" in bar
    value = page["cut"].get_attribute("aria-valuetext")
    assert value == "50 percent of the width show the left picture"
    assert page.run("return document.documentElement.lang") == "en"


@pytest.mark.parametrize(("scheme", "light"), [("light", True), ("dark", False)])
def test_words_can_be_read_in_light_and_in_dark(page, png, scheme, light) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.pick("a.png", png)
    drop(page, "x", b"no picture")
    page.until(lambda: page["error"].is_displayed())
    script = """const rgba = (text) => text.match(/[\\d.]+/g).map(Number), found = [];
        for (const one of document.querySelectorAll("body *")) {
          const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          if (!own || !one.checkVisibility() || one.disabled || one.closest(".unseen, optgroup, option")) continue;
          let behind = one, ground = [0, 0, 0, 0];
          while (behind && (ground[3] ?? 1) === 0) {
            ground = rgba(getComputedStyle(behind).backgroundColor);
            behind = behind.parentElement;
          }
          found.push([one.textContent.trim().slice(0, 30), rgba(getComputedStyle(one).color), ground]);
        }
        return found;"""
    found = page.run(script)
    assert len(found) > 30
    for text, ink, paper in found:
        bright = sorted((_luminance(ink), _luminance(paper)))
        assert (bright[1] + 0.05) / (bright[0] + 0.05) >= 4.5, (text, ink, paper)
    ground = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (_luminance(ground) > 0.5) is light


def _luminance(colour: list[float]) -> float:
    """Relative luminance as WCAG 2 has it."""
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
