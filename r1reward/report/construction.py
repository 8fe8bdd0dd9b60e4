"""What training starts from: Tables 1 and 2, the pairs and the cold start, and what the base model sees."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from r1reward.report.layout import NOT_RUN, join_tables, share_cells
from r1reward.report.paper import paper_table
from r1reward.report.records import Records
from r1reward.report.style import COLOURS, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import titled

_ALL = "all"
_SHADES = ("#DCE9F3", "#9CC3DF", "#4C92C3", "#0B3C5D")
_Sources = Mapping[str, Mapping[str, Any]]
Example = tuple[str | Path, str, tuple[str, str], int, str]
_GALLERY_COLUMNS = 2
_GALLERY_WIDTH = 46


def table_01(records: Records) -> pd.DataFrame:
    """Table 1: the judge prompt, as printed."""
    return titled(paper_table(1).assign(source="paper"), "table_01", records=records)


def table_02(records: Records) -> pd.DataFrame:
    """Table 2: preference pairs in each source and taken from it."""
    printed = paper_table(2).assign(source="paper", profile="", dropped="")
    sources = dict((records.data() or {}).get("sources", {}))
    counts = {dataset: sources.pop(dataset.lower().replace("-", "_"), None) for dataset in printed["dataset"]}
    rows = [_source_row(dataset, size, records.profile) for dataset, size in (counts | sources).items()]
    return titled(join_tables(printed, rows), "table_02", records=records)


def cold_start(records: Records) -> pd.DataFrame:
    """What the data construction made: balance of positions, attempts of the annotator, set sizes."""
    data = records.data()
    if data is None:
        frame = pd.DataFrame([{"quantity": "cold start", "value": NOT_RUN}])
        return titled(frame, "extra_cold_start", records=records, values={"annotator": NOT_RUN})
    annotator = str(data.get("annotator", "scripted"))
    by_annotator = "scripted" if "scripted" in annotator.lower() else "measured"
    positions = {f"preferred response at position {key}": n for key, n in data["positions"].items()}
    made = {
        "no attempt right" if key == "failed" else f"right at attempt {key}": n
        for key, n in data["attempts"].items()
    }
    made |= {"SFT examples": data["sft_examples"], "RL examples": data["rl_examples"]}
    cells = [
        {"quantity": name, "value": f"{value:,}", "source": source, "profile": records.profile}
        for counts, source in ((positions, "measured"), (made, by_annotator))
        for name, value in counts.items()
    ]
    return titled(pd.DataFrame(cells), "extra_cold_start", records=records, values={"annotator": annotator})


def _source_row(dataset: str, counts: Mapping[str, Any] | None, profile: str) -> dict[str, str]:
    row = {"dataset": dataset, "source": "measured", "profile": profile}
    if counts is None:
        return row | {"original": NOT_RUN, "sample": NOT_RUN, "source": NOT_RUN}
    sizes = (counts["original"], counts["sampled"], sum(counts.get("dropped", {}).values()))
    return row | dict(zip(("original", "sample", "dropped"), (f"{n:,}" for n in sizes), strict=True))


def figure_construction(records: Records) -> Figure:
    """Share of each source (the paper's hollow), attempts of the annotator, balance of the positions."""
    data = records.data() or {}
    sources: _Sources = data.get("sources", {})
    with styled():
        figure = new_figure(12.0, 3.9)
        panels = figure.subplots(1, 3, width_ratios=(1.0, 1.2, 0.8))
        titles = ("(a) Source mix", "(b) Attempts of the annotator", "(c) Balance of positions")
        for axes, title, draw in zip(panels, titles, (_draw_mix, _draw_attempts, _draw_balance), strict=True):
            axes.set_title(title)
            if not sources:
                say_not_run(axes)
                continue
            draw(axes, data)
            axes.grid(visible=False, axis="y")
        panels[1].tick_params(labelleft=bool(sources))
        panels[2].tick_params(labelleft=bool(sources))
        add_note(figure, _note(records, data))
        return figure


def _wrapped(text: str) -> str:
    """Lines of the gallery; a full stop with a space before it stays with its word."""
    return textwrap.fill(re.sub(r" ([.?,])", "\u00a0\\1", text), _GALLERY_WIDTH)


def figure_gallery(examples: Sequence[Example]) -> Figure:
    """Two columns of (picture, question, responses, preferred position, source); preferred ones are bold."""
    rows = -(-len(examples) // _GALLERY_COLUMNS)
    figure = new_figure(9.0, 2.0 * rows)
    grid = figure.add_gridspec(rows, 2 * _GALLERY_COLUMNS, width_ratios=[1, 2.4] * _GALLERY_COLUMNS)
    for index, (picture, question, responses, preferred, source) in enumerate(examples):
        row, column = divmod(index, _GALLERY_COLUMNS)
        axes = figure.add_subplot(grid[row, 2 * column])
        axes.imshow(Image.open(picture).convert("RGB"), interpolation="nearest")
        axes.set_axis_off()
        words = figure.add_subplot(grid[row, 2 * column + 1])
        words.set_axis_off()
        words.text(0, 0.98, source, color=COLOURS["quiet"], fontsize=7.5, va="top")
        words.text(0, 0.8, _wrapped(question), va="top")
        for position, response in enumerate(responses, start=1):
            chosen = position == preferred
            words.text(
                0,
                0.46 if position == 1 else 0.16,
                _wrapped(f"{position}  {response}"),
                va="center",
                fontweight="bold" if chosen else "normal",
                color=COLOURS["stable_reinforce"] if chosen else COLOURS["paper"],
            )
    return figure


def _paper_shares() -> dict[str, float]:
    """Printed share of each source in percent; the first four are printed together, so each has none."""
    printed = {
        row["dataset"].lower().replace("-", "_"): row["sample"].replace(",", "")
        for row in paper_table(2).to_dict("records")
    }
    sizes = {name: float(text) for name, text in printed.items() if text.isdigit()}
    total = sum(sizes.values()) + 100_000
    return {name: 100 * size / total for name, size in sizes.items()}


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks([-row for row in range(len(names))], [name.replace("_", " ") for name in names])
    axes.set_ylim(0.5 - len(names), 0.5)


def _say_missing(axes: Axes, y: float) -> None:
    look = {"style": "italic", "color": COLOURS["quiet"], "fontsize": 7.5, "ha": "center", "va": "center"}
    axes.text(50, y, "not recorded", **look)


def _draw_mix(axes: Axes, data: Mapping[str, Any]) -> None:
    sources: _Sources = data["sources"]
    paper = _paper_shares()
    total = sum(counts["sampled"] for counts in sources.values())
    for row, (name, counts) in enumerate(sources.items()):
        share = 100 * counts["sampled"] / total
        axes.barh(-row, share, height=0.62, color=COLOURS["stable_reinforce"])
        at_the_edge = {
            "transform": axes.get_yaxis_transform(),
            "ha": "right",
            "va": "center",
            "fontsize": 7.5,
        }
        axes.text(1.0, -row, f"{counts['sampled']:,}", **at_the_edge)
        if name in paper:
            look = {"marker": "o", "ms": 7, "mfc": "white", "mec": COLOURS["paper"], "mew": 1.4}
            axes.plot(paper[name], -row, linestyle="none", **look)
    _name_rows(axes, list(sources))
    axes.set_xlabel("share of all pairs (%)")
    axes.margins(x=0.3)
    handles = [
        Line2D([], [], color=COLOURS["stable_reinforce"], lw=6, label="measured"),
        Line2D([], [], marker="o", ms=7, mfc="white", mec=COLOURS["paper"], linestyle="none", label="paper"),
    ]
    axes.legend(handles=handles, fontsize=7.5, loc="lower center", bbox_to_anchor=(0.5, 1.07), ncols=2)


def _draw_attempts(axes: Axes, data: Mapping[str, Any]) -> None:
    rows = {name: counts.get("attempts") for name, counts in data["sources"].items()}
    rows[_ALL] = data["attempts"]
    kinds = list(data["attempts"])
    for row, (_name, attempts) in enumerate(rows.items()):
        total, left = sum((attempts or {}).values()), 0.0
        if not total:
            _say_missing(axes, -row)
            continue
        for kind, shade in zip(kinds, _shades(len(kinds)), strict=True):
            share = 100 * attempts[kind] / total
            axes.barh(-row, share, left=left, height=0.62, color=shade)
            if share >= 7:
                colour = "white" if shade in _SHADES[2:] else "black"
                look = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
                axes.text(left + share / 2, -row, f"{share:.0f}", **look)
            left += share
    _name_rows(axes, list(rows))
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the pairs (%)")
    names = ["never right" if kind == "failed" else f"right at {kind}" for kind in kinds]
    handles = [
        Line2D([], [], color=shade, lw=6, label=name)
        for shade, name in zip(_shades(len(kinds)), names, strict=True)
    ]
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.07), "ncols": len(kinds)}
    axes.legend(handles=handles, fontsize=7.5, **place)


def _annotate(axes: Axes, x: float, y: float, *, text: str) -> None:
    axes.annotate(text, (x, y), (8, 0), textcoords="offset points", va="center", fontsize=7.5)


def _shades(number: int) -> list[str]:
    """From light to dark, the last for pairs that were never reached."""
    return [_SHADES[min(index, 2)] for index in range(number - 1)] + [_SHADES[3]]


def _draw_balance(axes: Axes, data: Mapping[str, Any]) -> None:
    rows = {name: counts.get("positions", {}) for name, counts in data["sources"].items()}
    rows[_ALL] = data["positions"]
    shares: list[float] = []
    for row, positions in enumerate(rows.values()):
        if not sum(positions.values()):
            _say_missing(axes, -row)
            continue
        share = 100 * positions["1"] / sum(positions.values())
        shares.append(share)
        axes.plot(share, -row, marker="D", ms=6, color=COLOURS["stable_reinforce"], linestyle="none")
        text = f"{positions['1']:,} : {positions['2']:,}"
        _annotate(axes, share, -row, text=text)
    axes.axvline(50, color=COLOURS["quiet"], lw=0.8, linestyle=":")
    _name_rows(axes, list(rows))
    spread = max([5.0, *(abs(share - 50) + 1 for share in shares)])
    axes.set_xlim(50 - spread, 50 + 1.2 * spread)
    axes.set_xlabel("Response 1 preferred (%)")


def _note(records: Records, data: Mapping[str, Any]) -> str:
    annotator, printed = data.get("annotator", "scripted"), _paper_shares()
    sizes = {name: counts["sampled"] for name, counts in data.get("sources", {}).items()}
    others = sum(size for name, size in sizes.items() if name not in printed) / max(1, sum(sizes.values()))
    return (
        f"Measured, profile {records.profile}; annotator: {annotator}. The paper prints the sizes of the "
        "MM-RLHF subsets and, for the other four sources, only their sum: "
        f"{100 - sum(printed.values()):.0f} % of all, here {100 * others:.0f} %. Attempts are not printed."
    )


_CONFUSED_SKILLS = ("digits", "counts", "attributes")
_SHOW_NUMBERS_UP_TO = 14


def base_model(records: Records) -> pd.DataFrame:
    """Perception of the base model on held-out scenes, one row a skill."""
    rows = [
        {
            "skill": skill.replace("_", " "),
            **share_cells("accuracy", entry["accuracy"], entry.get("interval")),
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
        add_note(figure, f"Measured, profile {records.profile}; percent of each true label, empty below 0.5.")
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
