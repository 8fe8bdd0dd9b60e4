"""How tables read: their cells, the frames as CSV, markdown and LaTeX, and the page that shows everything.

Every row says where it comes from: `source` is `paper`, `measured` or `scripted`; a measured row names its
profile, seeds and number of items, and `…_low`/`…_high` hold its 95 % interval. A row without a record says
"not run". A † marks a model with scripted inputs. CSV has all columns; elsewhere intervals and sources are
folded into cells. The page is one file without script or network; its form stands in `page.html.j2`, where
every text is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.records import HEAD_NAMES, MODEL_NAMES, VARIANT_NAMES, Records, read_manifests
from r1reward.stats import Interval

NOT_RUN = "not run"
DAGGER = "†"
SHORT_DAGGER_NOTE = f"{DAGGER} something in the training was scripted."
_SOURCE_COLUMNS = ("source", "profile", "seeds", "n")
_ENDS = ("", "_low", "_high")


def display_name(records: Records, model: str, *, fallback: str = "") -> str:
    """A model's name in tables and figures, with a dagger if a script stands behind its training."""
    name = fallback or (MODEL_NAMES | HEAD_NAMES | VARIANT_NAMES)[model]
    return name + DAGGER if records.scripted(model) else name


def percent(share: float | None) -> str:
    """A share as percent with two decimals; nothing for None and NaN."""
    return "" if share is None or share != share else f"{100 * share + 0.0:.2f}"


def interval_cells(column: str, interval: Interval | None) -> dict[str, str]:
    """A share in percent with the bounds of its interval, or "not run"."""
    if interval is None:
        return {column: NOT_RUN}
    return share_cells(column, interval.estimate, (interval.low, interval.high))


def share_cells(column: str, share: float, bounds: Sequence[float] | None) -> dict[str, str]:
    """A share in percent with two bounds, which may be missing."""
    numbers = (share, *(bounds or (None, None)))
    return {column + end: percent(number) for end, number in zip(_ENDS, numbers, strict=True)}


def run_cells(records: Records, shape: Sequence[int]) -> dict[str, str]:
    """Whose numbers a measured row has: profile, and seeds and items by the `shape` (S, N) of its values."""
    return {"source": "measured", "profile": records.profile, "seeds": str(shape[0]), "n": str(shape[1])}


def not_run(records: Records, *columns: str) -> dict[str, str]:
    """The cells of a row without records, which says so in some columns."""
    return dict.fromkeys(columns, NOT_RUN) | {"source": NOT_RUN, "profile": records.profile}


def join_tables(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], *, intervals: Sequence[str] = ()
) -> pd.DataFrame:
    """The printed rows, then ours; a column of `intervals` is followed by its bounds."""
    columns = list(_columns(printed, rows, intervals))
    everything: list[dict[Any, str]] = [*printed.to_dict("records"), *rows]
    return pd.DataFrame(
        [{name: row.get(name, "") for name in columns} for row in everything], columns=columns
    )


def _columns(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], intervals: Sequence[str]
) -> Iterator[str]:
    known = list(dict.fromkeys([*printed.columns, *(key for row in rows for key in row)]))
    for column in known:
        if column in intervals:
            yield from (column + end for end in _ENDS)
        elif column not in _SOURCE_COLUMNS and not column.endswith(("_low", "_high")):
            yield column
    yield from (column for column in _SOURCE_COLUMNS if column in known or intervals)


_LATEX_SPECIAL = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"$^\dagger$",
    "◐": r"$\ominus$",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "…": r"\ldots{}",
    "§": r"\S{}",
}
# Letters with accents that LaTeX's own fonts can build.
_LATIN = re.compile(r"[À-ÏÑ-ÖØ-Ýß-ïñ-öø-ýÿ]")
# Points of \footnotesize: the width of an upright page, of one turned on its side (set smaller), and of
# a character. Longer cells go over lines, tables of more rows over pages.
_UPRIGHT, _TURNED, _CHARACTER = 345.0, 680.0, 4.4
_LONGEST_CELL, _MOST_ROWS = 36, 45
_NUMBERED = re.compile(r"Table (\d+)\. ")
_TITLES = {
    **DOWNSTREAM_COLUMNS,
    "mathvista": "MathVista",
    "n": "n",
    "params": "#Param",
    "overall_acc": "Overall Acc",
    "macro_acc": "Macro Acc",
    "answer_one": 'answer "1"',
}


def to_csv(frame: pd.DataFrame) -> str:
    """Comma-separated values, one line a row, `\\n` line ends."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_markdown(frame: pd.DataFrame) -> str:
    """Caption, table and notes. Intervals stand in brackets behind their value."""
    folded = fold(frame)
    header = [title(column) for column in folded.columns]
    rows = [header, ["---"] * len(header), *folded.to_numpy().tolist()]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    notes = [f"- {note}" for note in frame.attrs.get("notes", [])]
    parts = [f"**{frame.attrs.get('caption', '')}**", "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_latex(frame: pd.DataFrame) -> str:
    """A table with `booktabs` rules, caption and notes; LaTeX sets the paper's number itself.

    One that is wider or longer than a page is turned on its side and goes over pages (`pdflscape`,
    `longtable`); one that is wider still is split into parts, with the columns that name a row in each.
    """
    folded = fold(frame).astype(str)
    cells = [[title(str(column)) for column in folded.columns], *folded.to_numpy().tolist()]
    longest = (max(map(len, column)) for column in zip(*cells, strict=True))
    widths = [_CHARACTER * min(characters, _LONGEST_CELL) + 12 for characters in longest]
    caption = frame.attrs.get("caption", "")
    number, text = _NUMBERED.match(caption), escape_latex(_NUMBERED.sub("", caption, count=1))
    notes = [escape_latex(note) + r"\par" for note in frame.attrs.get("notes", [])]
    named = [rf"\renewcommand{{\thetable}}{{{number[1]}}}"] if number else []
    if sum(widths) <= _UPRIGHT and len(cells) <= _MOST_ROWS:
        lines = [r"\begin{table*}", *named, r"\centering\footnotesize", rf"\caption{{{text}}}"]
        lines += _latex_part(cells, widths, range(len(widths)), form="tabular")
        return "\n".join([*lines[:-1], lines[-1] + r"\par\smallskip", *notes, r"\end{table*}"]) + "\n"
    lines = [r"\begin{landscape}\scriptsize\setlength{\tabcolsep}{3pt}", *named]
    for part, columns in enumerate(_split(cells, widths)):
        again = f"[]{{{text} (continued)}}" if part else f"{{{text}}}"
        body = _latex_part(cells, widths, columns, form="longtable")
        lines += [body[0], rf"\caption{again}\\", *body[1:4], r"\endhead", *body[4:]]
    return "\n".join([*lines, *notes, r"\end{landscape}"]) + "\n"


def _split(cells: Sequence[Sequence[str]], widths: Sequence[float]) -> list[list[int]]:
    """Which columns stand in each part: those that name a row in all, the others as far as they go."""
    digits = (any(cell[:1].isdigit() for cell in column[1:]) for column in zip(*cells, strict=True))
    names = next((number for number, numeric in enumerate(digits) if numeric), 1) or 1
    names = names if sum(widths[:names]) < _TURNED / 2 else 1
    first = list(range(names))
    parts = [[*first]]
    for column in range(names, len(widths)):
        if len(parts[-1]) > names and sum(widths[c] for c in [*parts[-1], column]) > _TURNED:
            parts.append([*first])
        parts[-1].append(column)
    return parts


def _latex_part(
    cells: Sequence[Sequence[str]], widths: Sequence[float], columns: Sequence[int], *, form: str
) -> list[str]:
    """Some columns as a `tabular` or `longtable`, a line a row; long cells go over lines."""
    longest = _LONGEST_CELL * _CHARACTER + 12
    kinds = "".join(f"p{{{_LONGEST_CELL // 2}em}}" if widths[c] >= longest else "l" for c in columns)
    rows = [
        _latex_row([_breakable(escape_latex(row[c]), widths[c] >= longest) for c in columns]) for row in cells
    ]
    begin = [rf"\begin{{{form}}}{{{kinds}}}", r"\toprule", rows[0], r"\midrule"]
    return [*begin, *rows[1:], r"\bottomrule", rf"\end{{{form}}}"]


def _breakable(text: str, over_lines: bool) -> str:
    """A cell that may go over lines can be broken behind a slash or underscore."""
    return re.sub(r"(/|\\_)", r"\1\\allowbreak{}", text) if over_lines else text


def fold(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for readers: `x_low`/`x_high` go into `x`, profile, seeds and n into `source`."""
    folded = frame.copy()
    for column in frame.columns:
        if f"{column}_low" in frame.columns:
            pairs = zip(frame[column], frame[f"{column}_low"], frame[f"{column}_high"], strict=True)
            folded[column] = [f"{value} [{low}, {high}]" if low else value for value, low, high in pairs]
    if "source" in frame.columns:
        folded["source"] = [_source(row) for row in frame.to_dict("records")]
    hidden = [
        c for c in frame.columns if c.endswith(("_low", "_high")) or c in ("profile", "seeds", "reference")
    ]
    hidden += ["n"] if "source" in frame.columns and "n" in frame.columns else []
    return folded.drop(columns=hidden)


def title(column: str) -> str:
    """A column name as heading."""
    return _TITLES.get(column, column.replace("_", " ").capitalize())


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters made harmless; a character that it has no letter for is named."""
    return "".join(map(_latex_character, " ".join(text.split())))


def _latex_character(character: str) -> str:
    if character in _LATEX_SPECIAL:
        return _LATEX_SPECIAL[character]
    if " " <= character <= "~" or _LATIN.match(character):
        return character
    return f"[U+{ord(character):04X}]"


def _latex_row(cells: list[str]) -> str:
    """A row of a table. An empty group keeps `\\\\` from reading a row that begins with [ or * as its own."""
    protected = "{}" if cells[0].startswith(("[", "*")) else ""
    return protected + " & ".join(cells) + r" \\"


def _source(row: dict[str, str]) -> str:
    profile = row.get("profile", "")
    if not profile:
        return row["source"]
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] != '1' else ''}" if row.get("seeds") else ""
    size = f"n = {row['n']}" if row.get("n") else ""
    return f"{row['source']} ({', '.join(part for part in (profile, seeds, size) if part)})"


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
        claim_notes=frames["extra_claims"].attrs["notes"] if "extra_claims" in frames else [],
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
