"""Draw every table and figure of a run from its records, as files and on one page, or some in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from r1reward.files import write_atomic, write_json
from r1reward.report import audit, construction, curves, downstream, figures, reasoning, scaling
from r1reward.report.claims import claims_table, ledger, read_claims
from r1reward.report.instrument import instrument
from r1reward.report.layout import PAGE, page, to_csv, to_latex, to_markdown
from r1reward.report.records import Records
from r1reward.report.style import figure_bytes, save_figure
from r1reward.report.tables import judge_table, read_tables, stress_table

TABLES: dict[str, Callable[[Records], pd.DataFrame]] = {
    **{name: partial(judge_table, name=name) for name, table in read_tables().items() if table.columns},
    "table_01": construction.table_01,
    "table_02": construction.table_02,
    "table_09": reasoning.table_09,
    "table_11": downstream.table_11,
    "table_12": scaling.table_12,
    "extra_base_model": construction.base_model,
    "extra_instrument": instrument,
    "extra_downstream": downstream.downstream_differences,
    "extra_self_corrections": reasoning.self_corrections,
    "extra_steering": reasoning.steering,
    "extra_stress": stress_table,
    "extra_cold_start": construction.cold_start,
    "extra_consistency_judges": reasoning.consistency_judges,
    "extra_best_of_n": scaling.best_of_n_table,
    "extra_tournaments": downstream.tournaments_table,
    "audit_always_one": audit.always_one,
    **{name: lambda _, make=make: make() for name, make in audit.AUDITS.items()},
}
FIGURES: dict[str, Callable[[Records], Figure]] = {
    "figure_1": figures.figure_1,
    "figure_2": curves.figure_2,
    "figure_3": scaling.figure_3,
    "figure_4": curves.figure_4,
    "figure_5": partial(reasoning.figure_examples, number=0),
    "figure_6": partial(reasoning.figure_examples, number=1),
    "extra_base_model": construction.figure_base_model,
    "extra_construction": construction.figure_construction,
    "extra_comparison": figures.figure_comparison,
    "extra_downstream": figures.figure_downstream,
    "extra_downstream_training": curves.figure_downstream_training,
    "extra_mechanisms": curves.figure_mechanisms,
    "extra_training": curves.figure_training_extras,
}

_PROCESSES = 2


def render(root: Path) -> list[Path]:
    """Draw all tables and figures of `root/records` into `root/tables` and `root/figures`.

    `root` is a run or results folder named after its profile. What has no record yet says "not run".
    The files are the same bytes for the same records. Figures are drawn in processes beside this one.
    Returns the written paths.
    """
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        names = list(FIGURES)
        drawn = [pool.submit(draw_figures, root, names[n::_PROCESSES]) for n in range(_PROCESSES)]
        records = Records.of_run(root)
        claims = ledger(records, read_claims())
        frames = {name: make(records) for name, make in TABLES.items()}
        frames["extra_claims"] = claims_table(claims, profile=records.profile)
        written = [
            path for name, frame in frames.items() for path in write_table(frame, root / "tables", name)
        ]
        written += [path for some in drawn for path in some.result()]
    write_json(root / "claims.json", claims)
    write_atomic(root / PAGE, page(root, frames, claims, figures=list(FIGURES), profile=records.profile))
    return [*written, root / "claims.json", root / PAGE]


def draw_figures(root: Path, names: Sequence[str]) -> list[Path]:
    """Draw some of `FIGURES` into `root/figures`, from one reading of the records; returns what it wrote."""
    records = Records.of_run(root)
    return [path for name in names for path in save_figure(FIGURES[name](records), root / "figures", name)]


def write_table(frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write a table as `name.csv`, `.md` and `.tex` into a folder."""
    texts = {"csv": to_csv(frame), "md": to_markdown(frame), "tex": to_latex(frame)}
    return [write_atomic(folder / f"{name}.{form}", text) for form, text in texts.items()]


def show(root: Path, *names: str) -> None:
    """Show tables and figures of a run or results folder, by their names in `tables/` and `figures/`.

    Where a table and a figure have one name, both are shown. An unknown name is a ValueError.
    """
    records = Records.of_run(root)
    for name in names:
        if name not in TABLES and name not in FIGURES:
            raise ValueError(f"no table or figure is called {name}")
        if name in TABLES:
            display(Markdown(to_markdown(TABLES[name](records))))
        if name in FIGURES:
            display(Image(figure_bytes(FIGURES[name](records), "png")))


def show_claims(root: Path, *names: str) -> None:
    """Show what became of the paper's claims of these names. An unknown name is a ValueError."""
    records, known = Records.of_run(root), {claim.name: claim for claim in read_claims()}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no claim is called {', '.join(unknown)}")
    entries = ledger(records, [known[name] for name in names])
    display(Markdown(to_markdown(claims_table(entries, profile=records.profile))))
