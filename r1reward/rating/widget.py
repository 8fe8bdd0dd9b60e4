"""The rating form in JupyterLab: a pair, two reasonings without names, three buttons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import ipywidgets as widgets

from r1reward.judge.widget import CELL_STYLE, picture_html
from r1reward.rating.items import Choice, RatingItem, Ratings
from r1reward.texts import html_text

PICTURE_PIXELS = 900
_LABELS: dict[Choice, str] = {"a": "A is better", "tie": "Tie", "b": "B is better"}


class RatingWidget(widgets.VBox):
    """Shows the first item without a choice; every choice is saved at once, and later goes on from there."""

    def __init__(self, items: Sequence[RatingItem], ratings: Ratings) -> None:
        self.items, self.ratings = list(items), ratings
        self.place = self._first_open()
        self.shown = widgets.HTML()
        self.progress = widgets.Label()
        self.buttons: dict[Choice, widgets.Button] = {}
        for choice, label in _LABELS.items():
            button = widgets.Button(description=label, button_style="primary" if choice != "tie" else "")
            button.on_click(partial(self._pressed, choice))
            self.buttons[choice] = button
        self.back = widgets.Button(description="Back", icon="arrow-left")
        self.back.on_click(lambda _: self._show(self.place - 1))
        row = widgets.HBox([*self.buttons.values(), self.back, self.progress])
        super().__init__([self.shown, row])
        self._show(self.place)

    def _pressed(self, choice: Choice, _: widgets.Button) -> None:
        self.choose(choice)

    def choose(self, choice: Choice) -> None:
        """Save the choice about the item that is shown and go on to the next one."""
        if self.place < len(self.items):
            self.ratings.add(self.items[self.place], choice)
            self._show(self.place + 1)

    def _first_open(self) -> int:
        rated = [item.item_id in self.ratings.choices for item in self.items]
        return rated.index(False) if False in rated else len(self.items)

    def _show(self, place: int) -> None:
        self.place = min(max(place, 0), len(self.items))
        done = sum(item.item_id in self.ratings.choices for item in self.items)
        self.progress.value = f"{done} of {len(self.items)} rated, saved in {self.ratings.path.name}"
        finished = self.place == len(self.items)
        self.shown.value = (
            "<p>All items are rated. Thank you.</p>" if finished else item_html(self.items[self.place])
        )
        for button in self.buttons.values():
            button.disabled = finished


def item_html(item: RatingItem) -> str:
    """What a rater sees of an item; nothing in it names a judge, and all text is escaped."""
    pictures = "".join(
        picture_html(path, pixels=PICTURE_PIXELS) for path in (*item.pair.images, *item.pair.frames)
    )
    responses = [
        f"<p><b>Response {number}</b>: {html_text(text)}</p>"
        for number, text in enumerate(item.pair.responses, start=1)
    ]
    reasonings = [
        f'<div style="{CELL_STYLE}"><b>{name}</b><br>{html_text(text)}</div>'
        for name, text in zip("AB", item.reasonings, strict=True)
    ]
    return (
        f'<div style="font-family:sans-serif;max-width:900px"><div>{pictures}</div>'
        f"<p><b>{html_text(item.pair.question)}</b></p>{''.join(responses)}"
        "<p>Whose reasoning about the two responses is more accurate, more coherent and clearer?</p>"
        f'<div style="display:grid;grid-template-columns:1fr 1fr;gap:8px">{"".join(reasonings)}</div></div>'
    )
