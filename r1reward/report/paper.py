"""What the paper prints: its 13 tables and the numbers of its sentences, read from `results/paper`.

Nothing here is computed. The conventions of the files stand in `results/paper/README.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from r1reward.files import read_json

PAPER_FOLDER = Path(__file__).resolve().parents[2] / "results" / "paper"
NUM_TABLES = 13


@dataclass(frozen=True, slots=True)
class PaperValue:
    """A number or name printed in a sentence of the paper.

    `printed` is the piece of `quote` that holds the value; `setting` is the dotted field of the paper
    profile that must equal it, or empty; `note` is what a reader has to know.
    """

    name: str
    value: Any
    printed: str
    section: str
    quote: str
    setting: str = ""
    note: str = ""


def paper_table(number: int) -> pd.DataFrame:
    """Table `number` (1 to 13) as printed: all cells are strings, empty where the paper prints nothing."""
    if not 1 <= number <= NUM_TABLES:
        raise ValueError(f"the paper has tables 1 to {NUM_TABLES}, not {number}")
    return pd.read_csv(_file(f"table_{number:02d}.csv"), dtype=str, keep_default_na=False)


def paper_difference(
    number: int, of: Mapping[str, str], minus: Mapping[str, str], *, columns: Sequence[str] = ("overall_acc",)
) -> float:
    """The mean of some columns in one printed row of a table minus that in another, in points.

    A row is named by some of its cells. Overall accuracies of one table follow from the groups by different
    rules (`audit.overall_rules`): a difference between means of the groups does not mix them. Raises
    ValueError where the cells do not name one row, or the table has no such column.
    """
    first, second = (_mean(number, cells, columns) for cells in (of, minus))
    return first - second


def _mean(number: int, cells: Mapping[str, str], columns: Sequence[str]) -> float:
    rows = [row for row in paper_table(number).to_dict("records") if cells.items() <= row.items()]
    if len(rows) != 1 or not set(columns) <= rows[0].keys():
        raise ValueError(f"{len(rows)} rows of table {number} have {dict(cells)} and {', '.join(columns)}")
    return fmean(float(rows[0][column]) for column in columns)


def paper_values() -> dict[str, PaperValue]:
    """The values of `values.json` by name."""
    return {entry["name"]: PaperValue(**entry) for entry in read_json(_file("values.json"))}


def _file(name: str) -> Path:
    if not (path := PAPER_FOLDER / name).is_file():
        raise FileNotFoundError(f"{path} is missing: what the paper prints comes with the repository")
    return path
