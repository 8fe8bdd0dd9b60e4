"""Tables, figures and claims of a run in a notebook."""

from __future__ import annotations

from pathlib import Path

from IPython.display import Image, Markdown, display

from r1reward.report.claims import claims_table, ledger, read_claims
from r1reward.report.layout import to_markdown
from r1reward.report.records import Records
from r1reward.report.render import FIGURES, TABLES
from r1reward.report.style import figure_bytes


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
