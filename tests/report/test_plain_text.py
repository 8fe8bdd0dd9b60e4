"""Texts of models and data stand in figures as they were written: none is mathematics, none stops them."""

import base64
import io
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from r1reward.report import style
from r1reward.report.construction import figure_gallery
from r1reward.report.records import Records
from r1reward.report.render import FIGURES

HOSTILE = r"$\boxed{5}$ $$..$$ $100% of $200"
UNPAIRED = "$5\ud800"


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def hostile(run_root: Path) -> Records:
    """Records in which a model or a data set wrote dollars wherever a figure shows a text."""
    folder = run_root / "records"
    data = json.loads((folder / "data.json").read_text())
    data |= {"annotator": HOSTILE, "sources": {HOSTILE: data["sources"]["povid"]}}
    (folder / "data.json").write_text(json.dumps(data))
    base = json.loads((folder / "base.json").read_text())
    base["counts"]["labels"] = [f"{HOSTILE}{n}" for n in range(6)]
    (folder / "base.json").write_text(json.dumps(base))
    example = {"picture": base64.b64encode(picture()).decode(), "question": HOSTILE, "preferred": 1}
    example |= {"responses": [HOSTILE, UNPAIRED], "text": f"$x$ {UNPAIRED}", "chosen": HOSTILE}
    counts = {"sft": {"corrected": 1, "outputs": 2}}
    (folder / "reasoning").mkdir()
    found = {"examples": [example] * 2, "counts": counts}
    (folder / "reasoning" / "examples.json").write_text(json.dumps(found))
    return Records(folder, HOSTILE)


def drawn_texts(figure: Figure) -> list[str]:
    """The texts of a figure after it was drawn, outside of the report's own style as in a notebook."""
    figure.savefig(io.BytesIO(), format="png", dpi=20)
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_shows_what_was_written(hostile: Records, name: str) -> None:
    shown = "\n".join(drawn_texts(FIGURES[name](hostile)))
    shows_no_words = ("extra_mechanisms", "extra_downstream")
    assert name in shows_no_words or HOSTILE in shown


def test_the_gallery_shows_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    example = (tmp_path / "a.png", HOSTILE, (HOSTILE, UNPAIRED), 1, HOSTILE)
    shown = drawn_texts(figure_gallery([example]))
    assert shown.count(HOSTILE) == 2 and f"1  {HOSTILE}" in shown and "2  $5?" in shown


def test_without_plain_texts_it_would_not_be_drawn(hostile: Records) -> None:
    with patch.object(style, "PlainFigure", Figure), pytest.raises(ValueError, match="boxed"):
        drawn_texts(FIGURES["figure_5"](hostile))


def test_ticks_of_a_logarithmic_axis_are_powers_of_ten() -> None:
    figure = style.new_figure(3, 3)
    axes = figure.subplots()
    axes.plot([0, 1, 2], [-200, 0, 3e4])
    style.set_log_scale(axes, linear_up_to=1)
    figure.draw_without_rendering()
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert {"0", "10²", "10⁴", "\N{MINUS SIGN}10²"} <= set(shown)
