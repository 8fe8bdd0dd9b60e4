"""Frames of `tables` as CSV (all columns), markdown and LaTeX (intervals and sources folded into cells)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from r1reward.benchmarks import DOWNSTREAM_COLUMNS

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
    names = next((number for number, found in enumerate(digits) if found), 1) or 1
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
