"""One look for all figures, and files that are the same bytes each time they are drawn.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; line style and marker repeat
the distinction. A number printed in the paper is hollow, one measured here is filled.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from r1reward.files import write_atomic

COLOURS = {
    "base": "#7F7F7F",
    "sft": "#E69F00",
    "sft_continued": "#CC79A7",
    "reinforce_pp": "#D55E00",
    "stable_reinforce": "#0072B2",
    "wo_filter": "#009E73",
    "wo_pre_clip": "#56B4E9",
    "weight_0.0": "#D55E00",
    "no_cold_start": "#7F7F7F",
    "easy_pairs": "#009E73",
    "any": "#009E73",
    "swapped": "#D55E00",
    "weighted": "#CC79A7",
    "paper": "#333333",
    "quiet": "#8A8A8A",
}
MARKERS = {"base": "s", "sft": "o", "sft_continued": "v", "reinforce_pp": "^", "stable_reinforce": "D"}
LINES = {
    "stable_reinforce": "-",
    "reinforce_pp": (0, (4, 1.5)),
    "wo_filter": (0, (1, 1)),
    "wo_pre_clip": (0, (5, 1, 1, 1)),
    "weight_0.0": (0, (4, 1.5)),
    "no_cold_start": (0, (1, 1)),
    "easy_pairs": (0, (5, 1, 1, 1)),
}
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.hashsalt": "r1reward",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Inches beside a panel: the layout leaves half of the last tick's label outside the figure.
_SIDE_ROOM = 0.1


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib's defaults with `STYLE` on top, whatever the caller has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


class PlainFigure(Figure):
    """A figure whose texts are drawn as they are written, whoever wrote them: `$5$` is no mathematics."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw, with every text made plain first; whatever saves or shows a figure comes through here."""
        for text in self.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
            written = text.get_text()
            if not written.isascii():
                # A lone surrogate is a character that no font can be asked for.
                text.set_text(written.encode("utf-8", "replace").decode("utf-8"))
        super().draw(renderer)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches), independent of pyplot."""
    figure = PlainFigure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=_SIDE_ROOM))
    FigureCanvasAgg(figure)
    return figure


def figure_bytes(figure: Figure, form: str) -> bytes:
    """The figure as svg, pdf or png, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=form, metadata=_METADATA[form])
    return buffer.getvalue()


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.svg`, `.pdf` and `.png` into a folder. The layout is solved once and then kept.

    The solver repeats itself except in the last digits; rounded places give the same bytes each time.
    """
    with styled():
        figure.draw_without_rendering()
        # By these settings there is none; with a placeholder for one, "none", each file is drawn twice.
        figure.set_layout_engine(None)
    for axes in figure.axes:
        left, bottom, width, height = (round(number, 4) for number in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))
    return [
        write_atomic(folder / f"{name}.{form}", figure_bytes(figure, form)) for form in ("svg", "pdf", "png")
    ]


def set_log_scale(axes: Axes, *, linear_up_to: float) -> None:
    """A symmetric logarithmic y-axis, linear around 0, whose ticks are plain text."""
    axes.set_yscale("symlog", linthresh=linear_up_to)
    axes.yaxis.set_major_formatter(lambda value, _: _power_of_ten(value))


def _power_of_ten(value: float) -> str:
    """For example "10²"."""
    if value == 0:
        return "0"
    exponent = str(round(math.log10(abs(value)))).translate(_SUPERSCRIPTS)
    return ("\N{MINUS SIGN}" if value < 0 else "") + f"10{exponent}"


def say_not_run(axes: Axes) -> None:
    """Mark an empty panel, so that nobody takes it for a result."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, "not run", color=COLOURS["quiet"], style="italic", **place)


def add_note(figure: Figure, text: str) -> None:
    """A small note below the panels."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color="#555555")
