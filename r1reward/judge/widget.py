"""Pairs and judgments as HTML and as a JupyterLab widget; whatever a model or a user wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from r1reward.engines import EngineError
from r1reward.judge.generative import R1Reward
from r1reward.pictures import data_uri, encode_png, read_picture
from r1reward.texts import html_text
from r1reward.types import Comparison, Judgment, PreferencePair, Verdict, Vote

PREVIEW_PIXELS = 320
CELL_STYLE = (
    "border:1px solid #d0d7de;border-radius:6px;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere"
)
_SAID = {Verdict.FIRST: "Response 1", Verdict.SECOND: "Response 2", Verdict.UNPARSED: "no verdict"}


def judgment_html(comparison: Comparison, judgment: Judgment) -> str:
    """Pictures, both responses with the better one marked, reasoning and every vote."""
    pictures = "".join(picture_html(path) for path in (*comparison.images, *comparison.frames))
    better = int(judgment.verdict.value) if judgment.verdict is not Verdict.UNPARSED else None
    votes = "".join(map(_vote, judgment.votes))
    exchanged = "<p>Its vote saw the responses exchanged:</p>" if judgment.swapped else ""
    return (
        f'<div style="font-family:sans-serif;max-width:900px"><div>{pictures}</div>'
        f"<p><b>{html_text(comparison.question)}</b></p>"
        f"{_responses(comparison.responses, better, 'better')}"
        f"<p><b>{_SAID[judgment.verdict]}</b>, confidence {judgment.confidence:.3f}, "
        f"{len(judgment.votes)} vote(s)</p>"
        f'{exchanged}<div style="{CELL_STYLE}">{html_text(judgment.reasoning)}</div>'
        f"<details><summary>votes</summary><ol>{votes}</ol></details></div>"
    )


class JudgeWidget(widgets.VBox):
    """A form for one pair: paths of pictures, question, two responses, votes; the judgment appears below."""

    def __init__(self, judge: R1Reward, *, images: Sequence[str | Path] = (), question: str = "") -> None:
        self.judge = judge
        wide: Any = {"layout": widgets.Layout(width="100%")}
        paths = "\n".join(map(str, images))
        self.images = widgets.Textarea(value=paths, description="Pictures", rows=2, **wide)
        self.question = widgets.Text(value=question, description="Question", **wide)
        self.responses = [widgets.Textarea(description=f"Response {i}", rows=4, **wide) for i in (1, 2)]
        self.votes = widgets.IntSlider(value=1, min=1, max=16, description="Votes")
        self.both_orders = widgets.Checkbox(value=True, description="both orders")
        self.button = widgets.Button(description="Judge", button_style="primary")
        self.result = widgets.HTML()
        self.button.on_click(lambda _: self.show())
        row = widgets.HBox([self.votes, self.both_orders, self.button])
        super().__init__([self.images, self.question, *self.responses, row, self.result])

    def show(self) -> None:
        """Judge what is in the form; an error is shown in place of a judgment."""
        first, second = (box.value for box in self.responses)
        paths = tuple(line.strip() for line in self.images.value.splitlines() if line.strip())
        comparison = Comparison(self.question.value, (first, second), paths, label="the pair")
        try:
            judgment = self.judge.compare_all(
                [comparison], votes=self.votes.value, both_orders=self.both_orders.value
            )[0]
        except (EngineError, ValueError) as error:
            self.result.value = f'<p style="color:#b00020">{html_text(str(error))}</p>'
            return
        self.result.value = judgment_html(comparison, judgment)


def picture_html(path: str, *, pixels: int = PREVIEW_PIXELS) -> str:
    """A picture inside the page, scaled down to `pixels` if it is larger. Raises PictureFault."""
    small = read_picture(path)
    small.thumbnail((pixels, pixels))
    source = data_uri(encode_png(small), "png")
    return f'<img alt="" style="margin:2px;min-height:160px;max-width:100%" src="{source}">'


def _responses(responses: tuple[str, str], marked: int | None, word: str) -> str:
    titles = [f"Response {number}{f' ✓ {word}' if number == marked else ''}" for number in (1, 2)]
    return _grid([*zip(titles, responses, strict=True)], marked)


def _vote(vote: Vote) -> str:
    chance = "" if vote.probability is None else f", probability {vote.probability:.3f}"
    order = ", responses exchanged" if vote.swapped else ""
    text = html_text(vote.completion.text)
    return f"<li>{_SAID[vote.verdict]}{chance}{order}<br><code>{text}</code></li>"


def pair_html(pair: PreferencePair) -> str:
    """The pictures, the question and both responses of a pair, the preferred one marked."""
    pictures = "".join(picture_html(path) for path in (*pair.images, *pair.frames))
    return (
        f'<div style="max-width:900px">{pictures}<p><b>{html_text(pair.question)}</b></p>'
        f"{_responses(pair.responses, pair.preferred, 'preferred')}</div>"
    )


def texts_html(columns: Sequence[tuple[str, str]]) -> str:
    """Texts side by side, each below its title."""
    return f'<div style="max-width:900px;margin-top:8px">{_grid(columns)}</div>'


def _grid(columns: Sequence[tuple[str, str]], marked: int | None = None) -> str:
    cells = []
    for number, (title, text) in enumerate(columns, start=1):
        style = f"{CELL_STYLE};border:2px solid #0072B2" if number == marked else CELL_STYLE
        cells.append(f'<div style="{style}"><b>{html_text(title)}</b><br>{html_text(text)}</div>')
    style = f"display:grid;grid-template-columns:repeat({len(columns)},1fr);gap:8px"
    return f'<div style="{style}">{"".join(cells)}</div>'
