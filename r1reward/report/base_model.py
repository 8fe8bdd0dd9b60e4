"""What the base model sees on held-out scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1reward.report.cells import NOT_RUN, percent
from r1reward.report.records import Records
from r1reward.report.style import add_note, new_figure, say_not_run, styled
from r1reward.report.tables import titled

_CONFUSED_SKILLS = ("digits", "counts", "attributes")
_SHOW_NUMBERS_UP_TO = 14


def base_model(records: Records) -> pd.DataFrame:
    """Perception of the base model on held-out scenes, one row a skill."""
    rows = [
        {
            "skill": skill.replace("_", " "),
            "accuracy": percent(entry["accuracy"]),
            **dict(
                zip(
                    ("accuracy_low", "accuracy_high"),
                    map(percent, entry.get("interval", (None, None))),
                    strict=True,
                )
            ),
            "source": "measured",
            "profile": records.profile,
            "n": f"{entry['n']:,}",
        }
        for skill, entry in (records.base() or {}).items()
        if isinstance(entry, dict) and "accuracy" in entry
    ]
    frame = pd.DataFrame(rows or [{"skill": "all", "accuracy": NOT_RUN}])
    return titled(frame, "extra_base_model", records=records)


def figure_base_model(records: Records) -> Figure:
    """Confusion matrices of the base model on held-out scenes, each row summing to 100 %."""
    base = records.base() or {}
    with styled():
        figure = new_figure(12.0, 4.3)
        for axes, skill in zip(figure.subplots(1, 3), _CONFUSED_SKILLS, strict=True):
            entry = base.get(skill)
            axes.set_title(skill.capitalize())
            if isinstance(entry, dict) and "confusion" in entry:
                _draw_confusion(axes, entry)
                axes.set_title(f"{skill.capitalize()}: {_accuracy(entry)}")
            else:
                say_not_run(axes)
        add_note(
            figure,
            f"Measured, profile {records.profile}; percent of each true label, empty below 0.5.",
        )
        return figure


def _draw_confusion(axes: Axes, entry: dict[str, Any]) -> None:
    counts = np.asarray(entry["confusion"], dtype=float)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    labels = [str(label) for label in entry["labels"]]
    long = max(len(label) for label in labels) > 3
    axes.set_yticks(range(counts.shape[0]), labels[: counts.shape[0]])
    columns = labels + ["other"] * (counts.shape[1] - len(labels))
    axes.set_xticks(range(counts.shape[1]), columns, rotation=90 if long else 0)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    if len(labels) > _SHOW_NUMBERS_UP_TO:
        return
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 55 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _accuracy(entry: dict[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{100 * entry['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {entry['n']}"
