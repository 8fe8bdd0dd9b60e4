"""Pairs with their pictures, as a reader would judge them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from r1reward.report.style import COLOURS, new_figure

Example = tuple[str | Path, str, tuple[str, str], int, str]
COLUMNS = 2
WIDTH = 46


def figure_gallery(examples: Sequence[Example]) -> Figure:
    """Two columns of (picture, question, responses, preferred position, source); preferred ones are bold."""
    rows = -(-len(examples) // COLUMNS)
    figure = new_figure(9.0, 1.75 * rows)
    grid = figure.add_gridspec(rows, 2 * COLUMNS, width_ratios=[1, 2.4] * COLUMNS)
    for index, (picture, question, responses, preferred, source) in enumerate(examples):
        row, column = divmod(index, COLUMNS)
        axes = figure.add_subplot(grid[row, 2 * column])
        axes.imshow(Image.open(picture).convert("RGB"), interpolation="nearest")
        axes.set_axis_off()
        words = figure.add_subplot(grid[row, 2 * column + 1])
        words.set_axis_off()
        words.text(0, 0.98, source, color=COLOURS["quiet"], fontsize=7.5, va="top")
        words.text(0, 0.8, textwrap.fill(question, WIDTH), va="top")
        for position, response in enumerate(responses, start=1):
            chosen = position == preferred
            words.text(
                0,
                0.46 if position == 1 else 0.16,
                textwrap.fill(f"{position}  {response}", WIDTH),
                va="center",
                fontweight="bold" if chosen else "normal",
                color=COLOURS["stable_reinforce"] if chosen else COLOURS["paper"],
            )
    return figure
