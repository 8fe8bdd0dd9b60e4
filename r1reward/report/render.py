"""Draw every table and figure of a run from its records, and the page that shows them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from r1reward.files import write_atomic, write_json
from r1reward.report import (
    audit,
    base_model,
    construction,
    curves,
    downstream,
    figures,
    reasoning,
    robustness,
    scaling,
)
from r1reward.report.claims import claims_table, ledger, read_claims
from r1reward.report.layout import to_csv, to_latex, to_markdown
from r1reward.report.mechanisms import figure_mechanisms
from r1reward.report.page import PAGE, page
from r1reward.report.paper import PAPER_FOLDER
from r1reward.report.records import Records
from r1reward.report.style import save_figure
from r1reward.report.tables import judge_table, read_tables

PAPER_TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    **{name: partial(judge_table, name=name) for name, table in read_tables().items() if table.printed},
    "table_01": construction.table_01,
    "table_02": construction.table_02,
    "table_09": reasoning.table_09,
    "table_11": downstream.table_11,
    "table_12": scaling.table_12,
}
EXTRA_TABLES: dict[str, Callable[[Records], pd.DataFrame]] = {
    **{
        name: partial(judge_table, name=name)
        for name, table in read_tables().items()
        if table.columns and not table.printed
    },
    "extra_base_model": base_model.base_model,
    "extra_downstream": downstream.downstream_differences,
    "extra_self_corrections": reasoning.self_corrections,
    "extra_steering": robustness.steering,
    "extra_stress": robustness.stress_table,
    "extra_cold_start": construction.cold_start,
    "extra_consistency_judges": reasoning.consistency_judges,
    "audit_always_one": audit.always_one,
    "extra_best_of_n": scaling.best_of_n_table,
    "extra_tournaments": downstream.tournaments_table,
}
AUDITS: dict[str, Callable[[Records], pd.DataFrame]] = {
    name: lambda _, make=make: make() for name, make in audit.AUDITS.items()
}
TABLES: dict[str, Callable[..., pd.DataFrame]] = PAPER_TABLES | EXTRA_TABLES | AUDITS
FIGURES: dict[str, Callable[[Records], Figure]] = {
    "figure_1": figures.figure_1,
    "figure_2": curves.figure_2,
    "figure_3": scaling.figure_3,
    "figure_4": curves.figure_4,
    "figure_5": partial(reasoning.figure_examples, number=0),
    "figure_6": partial(reasoning.figure_examples, number=1),
    "extra_base_model": base_model.figure_base_model,
    "extra_construction": construction.figure_construction,
    "extra_comparison": figures.figure_comparison,
    "extra_downstream": figures.figure_downstream,
    "extra_downstream_training": curves.figure_downstream_training,
    "extra_mechanisms": figure_mechanisms,
    "extra_training": curves.figure_training_extras,
}

_PROCESSES = 2


def render(root: Path, paper: Path = PAPER_FOLDER) -> list[Path]:
    """Draw all tables and figures of `root/records` into `root/tables` and `root/figures`.

    `root` is a run or results folder named after its profile. What has no record yet says "not run".
    The files are the same bytes for the same records. Figures are drawn in processes beside this one.
    Returns the written paths.
    """
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        names = list(FIGURES)
        drawn = [pool.submit(draw_figures, root, names[n::_PROCESSES], paper) for n in range(_PROCESSES)]
        records = Records.of_run(root)
        claims = ledger(records, read_claims())
        frames = make_tables(records, paper)
        frames["extra_claims"] = claims_table(claims, profile=records.profile)
        written = [
            path for name, frame in frames.items() for path in write_table(frame, root / "tables", name)
        ]
        written += [path for some in drawn for path in some.result()]
    write_json(root / "claims.json", claims)
    write_atomic(root / PAGE, page(root, frames, claims, figures=list(FIGURES), profile=records.profile))
    return [*written, root / "claims.json", root / PAGE]


def make_tables(records: Records, paper: Path = PAPER_FOLDER) -> dict[str, pd.DataFrame]:
    """Every table by name, but that of the claims."""
    return {
        name: make(records, paper=paper) if name in PAPER_TABLES else make(records)
        for name, make in TABLES.items()
    }


def draw_figures(root: Path, names: Sequence[str], paper: Path = PAPER_FOLDER) -> list[Path]:
    """Draw some of `FIGURES` into `root/figures`, from one reading of the records; returns what it wrote."""
    records, written = Records.of_run(root), []
    for name in names:
        figure = figures.figure_1(records, paper=paper) if name == "figure_1" else FIGURES[name](records)
        written += save_figure(figure, root / "figures", name)
    return written


def write_table(frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write a table as `name.csv`, `.md` and `.tex` into a folder."""
    texts = {"csv": to_csv(frame), "md": to_markdown(frame), "tex": to_latex(frame)}
    return [write_atomic(folder / f"{name}.{form}", text) for form, text in texts.items()]
