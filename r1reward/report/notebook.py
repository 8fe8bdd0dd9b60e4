"""Tables and figures of a run in a notebook."""

from __future__ import annotations

from pathlib import Path

from IPython.display import Image, Markdown, display

from r1reward.report.layout import to_markdown
from r1reward.report.records import Records
from r1reward.report.render import FIGURES, TABLES
from r1reward.report.style import figure_bytes


def show(root: Path, *names: str) -> None:
    """Show tables and figures of a run or results folder, by their names in `tables/` and `figures/`."""
    records = Records.of_run(root)
    for name in names:
        if name in FIGURES:
            display(Image(figure_bytes(FIGURES[name](records), "png")))
        else:
            display(Markdown(to_markdown(TABLES[name](records))))
