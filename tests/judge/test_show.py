"""Pairs and answers in a notebook."""

from pathlib import Path

from PIL import Image

from r1reward.judge.show import pair_html, texts_html
from r1reward.types import PreferencePair


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
