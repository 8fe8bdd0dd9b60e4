"""The tables of `tables.toml`: their captions and notes, those of judges with this run's rows, and stress.

A table is a frame of strings; `frame.attrs` holds "caption" and "notes". What stands in its rows is told in
`layout` and `columns`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter
from types import MappingProxyType
from typing import Any

import pandas as pd

from r1reward.benchmarks import TITLES, VL
from r1reward.report.columns import COLUMNS, IDENTICAL, INTERVALS, Row, Shown, Value, cell_title
from r1reward.report.layout import (
    NOT_RUN,
    interval_cells,
    join_tables,
    not_run,
    percent,
    run_cells,
    share_cells,
)
from r1reward.report.paper import paper_table
from r1reward.report.records import HEAD_NAMES, MODES, Records, same_as
from r1reward.stats import Interval, share_interval

_UNPARSED = {
    "wrong": "unparsed answers wrong",
    "drop": "pairs with an unparsed answer left out",
    "coin": "unparsed answers decided by a coin",
}
# What a row of `tables.toml` may have beside the cells that name it.
_ROW_KEYS = ("record", "minus", "minus_title", "votes")
# What notes and captions may name beside the shared notes.
_COMPUTED = {
    "profile",
    "interval",
    "left_out",
    "stress",
    "annotator",
    "number",
    "switched",
    "fixed",
    "attacks",
}
_COMPUTED |= {"controls", "fenced", "hardened", "retrained"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of `tables.toml`. Tables of judges have `columns`, with what stands in each, and `rows`.

    `cells` stand in all of its rows, `shared` are the notes that those of several tables name.
    """

    caption: str
    notes: tuple[str, ...]
    shared: Mapping[str, str]
    cells: Mapping[str, str]
    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    printed: int
    benchmark: str


@cache
def read_tables() -> dict[str, Table]:
    """The tables of `tables.toml` by name."""
    text = files("r1reward.report").joinpath("tables.toml").read_text(encoding="utf-8")
    return parse_tables(text)


def parse_tables(text: str) -> dict[str, Table]:
    """The tables of a TOML text; a fault of one is a ValueError that names it.

    A fault is an unknown key, column, note or list of rows, a row without a record, and a cell that no column
    shows.
    """
    content = tomllib.loads(text)
    shared, notes, tables = content.pop("rows"), content.pop("notes"), {}
    for name, about in content.items():
        try:
            tables[name] = _table(about, shared, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"tables.toml, {name}: missing or unknown: {error}") from error
    return tables


def judge_table(records: Records, name: str) -> pd.DataFrame:
    """A table of judges: the paper's rows, then this run's."""
    table = read_tables()[name]
    rows = [_cells(Shown(records, row, mode), table) for row in table.rows for mode in row.modes]
    printed = pd.DataFrame(columns=pd.Index(table.columns))
    if table.printed:
        columns = list(table.columns)
        printed = paper_table(table.printed).reindex(columns=columns, fill_value="")
        printed = printed.assign(source="paper")
    shown = [column for column, what in table.columns.items() if what in INTERVALS]
    frame = join_tables(printed, rows, intervals=shown)
    if "difference" in shown and "measured" in set(frame["source"]) and not any(frame["difference"]):
        frame = frame.drop(columns=["difference", "difference_low", "difference_high"])
    return titled(frame, name, records=records)


def titled(
    frame: pd.DataFrame,
    name: str,
    *,
    records: Records | None = None,
    values: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """The frame as text, with the caption and notes of a table of `tables.toml`.

    Empty notes are left out, and one of several lines is as many notes. `values` are what its notes name
    beside the shared notes and what can be said of all records.
    """
    table, text = read_tables()[name], frame.astype(str)
    known: dict[str, str] = dict(table.shared)
    if records is not None:
        known |= {"interval": interval_note(records), "stress": stress_note(records)}
        known |= {"profile": records.profile, "left_out": left_out_note(records, table.benchmark)}
    known |= values
    if "difference" not in frame:
        known["difference"] = ""
    notes = [line for note in table.notes for line in note.format_map(known).splitlines() if line]
    text.attrs = {"caption": table.caption.format_map(known), "notes": notes}
    return text


def interval_note(records: Records) -> str:
    """What measured accuracies are."""
    policy = _UNPARSED[records.unparsed()]
    interval = "95 % interval over seeds and pairs, of one seed over pairs alone"
    return f"Measured: mean over both orders of a pair, {policy}, {interval}."


def left_out_note(records: Records, benchmark: str) -> str:
    """Which faulty rows of a benchmark are missing from the numbers below it; nothing where none is."""
    left_out = records.left_out(benchmark)
    scored = "Scores are over the others, as the official scripts count the answers they are given."
    return f"{TITLES[benchmark]}: {left_out}. {scored}" if left_out else ""


def stress_note(records: Records) -> str:
    """What a reader of the stress setting's collapses has to know; nothing where it has not run."""
    about = records.stress()
    if about is None:
        return ""
    (row,) = (row for row in about["tried"] if row["cell"] == about["chosen"])
    ended = row["ended"]["reinforce_pp"]["collapsed"]
    text = (
        f"The stress setting is {cell_title(about['chosen'])}: chosen on tuning seeds, by the collapses of "
        f"Reinforce++ ({sum(ended)} of {len(ended)}), before the fresh seeds ran."
    )
    if about["between"]:
        return text
    return f"{text} That is not between three and eight tenths, so the setting tells little apart."


def _cells(shown: Shown, table: Table) -> dict[str, str]:
    """The cells of a row, in the order of the columns."""
    cells = {name: cell.format(profile=shown.records.profile) for name, cell in table.cells.items()}
    values = {what: COLUMNS[what](shown) for what in table.columns.values() if what in COLUMNS}
    for column, what in table.columns.items():
        value = values.get(what)
        if what not in COLUMNS:
            cells.setdefault(column, shown.label(column))
        elif isinstance(value, str):
            cells[column] = value
        elif value is None or isinstance(value, Interval):
            cells |= interval_cells(column, value)
        else:
            cells[column] = percent(value)
    if not any(isinstance(value, Interval | float) for value in values.values()):
        return cells | not_run(shown.records)
    return cells | run_cells(shown.records, _shape(shown, values))


def _shape(shown: Shown, values: Mapping[str, Value]) -> Sequence[int]:
    """Seeds and items behind a row: of the difference, where it is all that the row says."""
    if shown.row.votes:
        values_shown = shown.votes()
    elif [what for what, value in values.items() if not isinstance(value, str)] == ["difference"]:
        values_shown = (shown.pair() or [None])[0]
    else:
        values_shown = (runs := shown.runs()) and runs.values
    assert values_shown is not None
    return values_shown.shape


def _table(about: Mapping[str, Any], shared: Mapping[str, Any], notes: Mapping[str, str]) -> Table:
    given = dict(about)
    columns = dict(map(_column, given.pop("columns", [])))
    listed, printed = given.pop("rows", []), given.pop("printed", 0)
    of_all = {"modes": tuple(given.pop("modes", MODES)), "minus": given.pop("minus", "")}
    of_all |= {"benchmark": given.pop("benchmark", VL), "steered": given.pop("steered", False)}
    listed = shared[listed] if isinstance(listed, str) else listed
    table = Table(
        shared=notes,
        columns=columns,
        rows=tuple(_row(row, of_all) for row in listed),
        printed=printed,
        benchmark=of_all["benchmark"],
        notes=tuple(given.pop("notes", ())),
        cells=given.pop("cells", {}),
        **given,
    )
    _check(table)
    return table


def _check(table: Table) -> None:
    """Raise ValueError for what nothing makes: a column, a note, and a cell that no column shows."""
    cells = {*table.cells, *(name for row in table.rows for name in row.cells)}
    printed = set(paper_table(table.printed).columns) if table.printed else set()
    noted = {name for note in table.notes for _, name, _, _ in Formatter().parse(note) if name}
    unknown = set(table.columns.values()) - COLUMNS.keys() - cells - printed - {"model"}
    unknown |= noted - table.shared.keys() - _COMPUTED
    if table.columns:
        unknown |= cells - table.columns.keys()
    if unknown:
        raise ValueError(", ".join(sorted(unknown)))


def _row(row: Mapping[str, Any], of_all: Mapping[str, Any]) -> Row:
    about = {**of_all, **{name: row[name] for name in _ROW_KEYS if name in row}}
    if "votes" in row or row["record"] in HEAD_NAMES:
        about["modes"] = ("sampled",) if "votes" in row else ("greedy",)
    return Row(cells={name: cell for name, cell in row.items() if name not in _ROW_KEYS}, **about)


def _column(text: str) -> tuple[str, str]:
    name, _, what = text.partition(" = ")
    return name, what or name


def stress_table(records: Records) -> pd.DataFrame:
    """How often each variant collapsed in the stress setting: on the tuning seeds, then on fresh ones."""
    stress = records.stress()
    if stress is None:
        frame = pd.DataFrame([{"variant": "all", "collapsed": NOT_RUN}])
        return titled(frame, "extra_stress", records=records)
    parts = [("tuning", row["cell"], row["ended"]) for row in stress["tried"]]
    parts.append(("fresh", stress["chosen"], stress["fresh"]))
    rows = [
        _stress_row(records, name, ended, cell=cell, seeds=seeds)
        for seeds, cell, part in parts
        for name, ended in part.items()
    ]
    return titled(join_tables(pd.DataFrame(), rows, intervals=["share"]), "extra_stress", records=records)


def _stress_row(
    records: Records, name: str, ended: Mapping[str, Any], *, cell: str, seeds: str
) -> dict[str, Any]:
    count, total = sum(ended["collapsed"]), len(ended["collapsed"])
    which = slice(total) if seeds == "tuning" else slice(-total, None)
    titles = {row.record: row.cells["variant"] for row in read_tables()["extra_stress"].rows}
    row = {
        "cell": cell_title(cell),
        "seeds_used": f"{seeds} ({total})",
        "variant": titles[name],
        "collapsed": f"{count} of {total}",
        "source": "measured",
        "profile": records.profile,
        "steps": ", ".join(map(str, [*records.stress_steps(cell, name).values()][which])),
        **_about_runs(records.stress_runs(cell, name)[which]),
        "note": IDENTICAL.get(ended["same_as"], ""),
    }
    if ended["same_as"]:
        return row
    return row | share_cells("share", count / total, share_interval(count, total, method="exact"))


def _about_runs(runs: Sequence[tuple[dict[str, Any], pd.DataFrame]]) -> dict[str, str]:
    """How many repeat others, how often Pre-CLIP's bound was passed in the rest, and what they ran on."""
    own = [(about, rows) for about, rows in runs if not same_as(about) and len(rows)]
    if not own:
        return {}
    steps = pd.concat([rows for _, rows in own])
    hits = steps[[column for column in steps if column.startswith("pre_clip_")]].sum(axis=1).gt(0)
    harmful = steps["pre_clip_high_negative"]
    unbounded = [f"{100 * harmful.mean():.2g} % above the bound"]
    if "high_negative_share" in steps:
        unbounded.append(f"{100 * steps['high_negative_share'].mean():.2g} % above the range")
    return {
        "repeated": str(len(runs) - len(own)),
        "bound_passed": f"{hits.sum()} of {len(steps)} steps, {harmful.gt(0).sum()} harmful",
        "harmful_tokens": ", ".join(unbounded),
        "device": ", ".join(sorted({about.get("device", "") for about, _ in own})),
    }
