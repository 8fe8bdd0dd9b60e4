"""Pairs, answers and judgments in a notebook."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from r1reward.judge.generative import R1Reward
from r1reward.judge.widget import JudgeWidget, judgment_html, pair_html, picture_html, texts_html
from r1reward.types import Comparison, Completion, Judgment, PreferencePair, Verdict, Vote

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
KNOWN_TAGS = {"div", "p", "b", "br", "img", "details", "summary", "ol", "li", "code"}


class Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (84, 84), "red").save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_model_text_is_escaped_everywhere(picture: str) -> None:
    vote = Vote(Verdict.SECOND, EVIL, Completion(EVIL, (1,), (0.0,), "stop"), 0.75, swapped=True)
    comparison = Comparison(EVIL, (EVIL, EVIL), (picture,), label="x")
    parser = Parser()
    parser.feed(judgment_html(comparison, Judgment(Verdict.SECOND, 0.75, EVIL, (vote,))))
    assert {tag for tag, _ in parser.tags} <= KNOWN_TAGS
    assert parser.text.count(EVIL) == 5
    images = [attributes for tag, attributes in parser.tags if tag == "img"]
    assert len(images) == 1 and str(images[0]["src"]).startswith("data:image/png;base64,")
    hidden = Comparison("q\u202e\x1b", ("a", "b"), (picture,))
    assert "q\\u202e\\x1b" in judgment_html(hidden, Judgment(Verdict.SECOND, 0.75, "r", (vote,)))
    assert "Response 2 ✓ better" in parser.text and "responses exchanged" in parser.text


def test_a_preview_is_upright_and_on_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "a.png", exif=exif)
    data = picture_html(str(tmp_path / "a.png")).partition("base64,")[2].partition('"')[0]
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert shown.size == (20, 40) and shown.getpixel((0, 0)) == (255, 255, 255)


def test_the_form_judges_and_shows_errors(picture: str) -> None:
    overrides = {"engine": {"max_new_tokens": 4}}
    judge = R1Reward.from_pretrained("mini", profile="mini", overrides=overrides)
    form = JudgeWidget(judge, images=[picture], question="what colour ?")
    form.responses[0].value, form.responses[1].value = "red .", "blue ."
    form.button.click()
    assert "2 vote(s)" in form.result.value and "red ." in form.result.value
    form.images.value = "<b>gone</b>.png"
    form.button.click()
    assert "&lt;b&gt;gone&lt;/b&gt;.png" in form.result.value and "<b>gone" not in form.result.value


def test_a_pair_shows_its_picture_and_which_response_is_preferred(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "p.png")
    pair = PreferencePair("p", "s", "Which ?", ("one", "two"), 2, (str(tmp_path / "p.png"),))
    shown = pair_html(pair)
    assert shown.count("data:image/png") == 1 and "<b>Which ?</b>" in shown
    assert "<b>Response 1</b><br>one" in shown and "<b>Response 2 ✓ preferred</b><br>two" in shown


def test_what_a_model_wrote_is_text() -> None:
    hostile = "<script>alert(1)</script>\u202e"
    pair = PreferencePair("p", "s", hostile, (hostile, "b"), 1)
    for shown in (pair_html(pair), texts_html([(hostile, hostile)])):
        assert "<script>" not in shown and "\u202e" not in shown and "&lt;script&gt;" in shown
