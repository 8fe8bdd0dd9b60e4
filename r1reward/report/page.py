"""One self-contained page with every table, figure and claim of a run: no script, no network.

Its form stands in `page.html.j2`, where every text is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from r1reward.report.layout import fold, title
from r1reward.report.manifests import read_manifests

PAGE = "index.html"
# What the page shows of a manifest.
_SHOWN = ("finished", "seeds", "device", "wall_seconds", "git")
_FIGURES = {
    "figure_1": "Figure 1. R1-Reward on three benchmarks.",
    "figure_2": "Figure 2. Training with StableReinforce and Reinforce++.",
    "figure_3": "Figure 3. Test-time scaling.",
    "figure_4": "Figure 4. Training without the advantage filter, and without Pre-CLIP.",
    "figure_5": "Figure 5. An output of the trained judge.",
    "figure_6": "Figure 6. Another output of the trained judge.",
    "extra_base_model": "What the base model sees.",
    "extra_comparison": "What RL changed, pair by pair.",
    "extra_construction": "The training data.",
    "extra_downstream": "What a policy gained from R1-Reward, by benchmark.",
    "extra_downstream_training": "How the policy's answers changed while it learnt.",
    "extra_mechanisms": "What Pre-CLIP and the advantage filter do to a ratio and an advantage.",
    "extra_training": "Training in other settings.",
}
# Anchor, heading, and the beginning of the names of the figures and tables of a section.
_SECTIONS = (
    ("figures", "Figures", "figure_"),
    ("tables", "Tables of the paper", "table_"),
    ("more-figures", "More figures", "extra_"),
    ("more-tables", "More tables", "extra_"),
    ("audit", "The paper's own arithmetic", "audit_"),
)


def page(
    root: Path,
    frames: Mapping[str, pd.DataFrame],
    claims: Sequence[Mapping[str, Any]],
    *,
    figures: Sequence[str],
    profile: str,
) -> str:
    """The page of a run or results folder: its tables, its claims, and these figures of `root/figures`."""
    manifests = read_manifests(root, keys=_SHOWN)
    seeds = sorted({seed for manifest in manifests.values() for seed in manifest["seeds"]})
    drawn = {name: root / "figures" / f"{name}.svg" for name in sorted(figures)}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("r1reward.report", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        profile=profile,
        finished=max((manifest["finished"][:10] for manifest in manifests.values()), default="never"),
        seeds=", ".join(map(str, seeds)) or "none",
        claims=claims,
        sections=[_section(*section, drawn, frames) for section in _SECTIONS],
        manifests=manifests,
    )


def take_apart(page: str) -> tuple[str, list[bytes]]:
    """The page without its figures, and the figures (SVG), which differ between machines."""
    embedded = re.findall(r'src="data:image/svg[+]xml;base64,([^"]*)"', page)
    return re.sub(r'src="data:[^"]*"', 'src=""', page), [base64.b64decode(data) for data in embedded]


def _section(
    anchor: str, heading: str, prefix: str, drawn: Mapping[str, Path], frames: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """What the page shows of a section: figures where its anchor says so, else tables."""
    of_figures = anchor.endswith("figures")
    names = [name for name in sorted(drawn if of_figures else frames) if name.startswith(prefix)]
    return {
        "anchor": anchor,
        "heading": heading,
        "figures": [
            (name, _FIGURES[name], base64.b64encode(drawn[name].read_bytes()).decode())
            for name in (names if of_figures else ())
        ],
        "tables": [_table(frames[name], name) for name in names if not of_figures and name != "extra_claims"],
    }


def _table(frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """What the page shows of a table; `rows` are kinds with cells, a kind being where a row comes from."""
    folded = fold(frame)
    sources = frame["source"] if "source" in frame.columns else [""] * len(frame)
    kinds = [source.replace(" ", "-") for source in map(str, sources)]
    rows = ([str(value) for value in row] for row in folded.to_numpy().tolist())
    return {
        "name": name,
        "caption": frame.attrs.get("caption", ""),
        "headings": [title(str(column)) for column in folded.columns],
        "rows": list(zip(kinds, rows, strict=True)),
        "notes": frame.attrs.get("notes", []),
    }
