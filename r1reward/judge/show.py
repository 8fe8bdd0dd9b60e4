"""Pairs and answers about them as HTML for a notebook; whatever a model or a data set wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from r1reward.judge.widget import CELL_STYLE, picture_html
from r1reward.texts import html_text
from r1reward.types import PreferencePair

Column = tuple[str, str]  # a title and a text


def pair_html(pair: PreferencePair) -> str:
    """The pictures, the question and both responses of a pair, the preferred one marked."""
    pictures = "".join(picture_html(path) for path in (*pair.images, *pair.frames))
    titles = [f"Response {n}{' ✓ preferred' if n == pair.preferred else ''}" for n in (1, 2)]
    return (
        f'<div style="max-width:900px">{pictures}<p><b>{html_text(pair.question)}</b></p>'
        f"{_grid([*zip(titles, pair.responses, strict=True)])}</div>"
    )


def texts_html(columns: Sequence[Column]) -> str:
    """Texts side by side, each below its title."""
    return f'<div style="max-width:1100px">{_grid(columns)}</div>'


def _grid(columns: Sequence[Column]) -> str:
    cells = (
        f'<div style="{CELL_STYLE}"><b>{html_text(title)}</b><br>{html_text(text)}</div>'
        for title, text in columns
    )
    style = f"display:grid;grid-template-columns:repeat({len(columns)},1fr);gap:8px"
    return f'<div style="{style}">{"".join(cells)}</div>'
