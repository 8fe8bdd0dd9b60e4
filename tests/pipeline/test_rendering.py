"""Tables and figures are drawn again when anything changed that they are drawn from."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from r1reward.files import read_json, write_atomic, write_json
from r1reward.pipeline import rendering
from r1reward.pipeline.places import PACKAGE_FOLDER
from r1reward.pipeline.publish import NotPublishableError, publish
from r1reward.pipeline.rendering import drawing_is_fresh, drawn_file, refresh_drawing, write_clean
from r1reward.pipeline.verify import verify


@pytest.fixture
def drawn(checkout, monkeypatch):
    """A run that is drawn, whose drawing code is a file that a test may edit."""
    code = write_atomic(checkout.root / "report.py", "x = 1")
    monkeypatch.setattr(rendering, "imported_files", lambda tree: {"r1reward.report.render": code})
    write_json(checkout.root / "results/paper/values.json", {"table_03": 71.92})
    context = checkout.fake_finished_run()
    assert drawing_is_fresh(context) and not refresh_drawing(context, render=checkout.render)
    return checkout


@pytest.mark.parametrize(
    "edit",
    [
        lambda checkout: write_atomic(checkout.root / "report.py", "x = 2"),
        lambda checkout: write_json(checkout.root / "results/paper/values.json", {"table_03": 71.93}),
        lambda checkout: write_json(checkout.context.folder / "records/made.json", 9),
        lambda checkout: write_json(checkout.context.folder / "records/new.json", 9),
        lambda checkout: write_atomic(checkout.context.folder / "tables/table_01.csv", "by hand"),
        lambda checkout: (checkout.context.folder / "figures/figure_1.svg").unlink(),
        lambda checkout: write_atomic(checkout.context.folder / "index.html", "by hand"),
        lambda checkout: write_atomic(drawn_file(checkout.context), "{half"),
        lambda checkout: write_json(drawn_file(checkout.context), []),
    ],
)
def test_what_changed_is_drawn_again(drawn, edit):
    edit(drawn)
    context = drawn.context
    assert not drawing_is_fresh(context)
    before = drawn.drawn
    assert refresh_drawing(context, render=drawn.render) and drawn.drawn == before + 1


def test_the_code_behind_tables_and_figures_is_the_whole_report(checkout):
    sources = rendering.imported_files(rendering.ast.parse(rendering._ENTRY))
    modules = {file.stem for file in (PACKAGE_FOLDER / "report").glob("*.py")}
    assert modules - {name.rpartition(".")[2] for name in sources} == {"__init__", "why"}


PICTURE = {"image/png": "aGk=", "image/svg+xml": "<svg/>", "text/plain": "<Figure>"}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}


def cleaned(folder: Path, *outputs: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    notebook = new_notebook(cells=[new_code_cell("1", outputs=list(outputs))])
    notebook.metadata["papermill"] = notebook.cells[0].metadata["papermill"] = {"duration": 1.5}
    nbformat.write(notebook, folder / "executed.ipynb")
    file = write_clean(folder / "executed.ipynb", folder / "clean.ipynb", places={"/home/me/paper": "."})
    assert "papermill" not in (text := file.read_text()) and "/home/me" not in text
    return nbformat.read(file, as_version=4).cells[0].outputs


def stream(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return new_output("stream", name=name, text=text)


def test_progress_and_warnings_are_left_out(tmp_path: Path) -> None:
    progress, warning = stream("1/3\n2/3\n", "stderr"), stream("hm", "stderr")
    [kept] = cleaned(tmp_path, progress, stream("step 1\rstep 2\rdone\nwrote /home/me/paper/a\n"), warning)
    assert kept["text"] == "done\nwrote ./a\n"


def test_a_figure_is_kept_once_and_a_widget_not_at_all(tmp_path: Path) -> None:
    table = {"text/html": "<b>1</b>", "text/plain": "1"}
    shown = (new_output("display_data", data=data) for data in (PICTURE, WIDGET, table))
    assert [output["data"] for output in cleaned(tmp_path, *shown)] == [{"image/png": "aGk="}, table]


def test_the_published_notebook_is_the_one_that_ran(checkout) -> None:
    checkout.run()
    publish(checkout.context)
    results = checkout.context.places.results("tiny")
    shown = nbformat.read(results / "notebooks/01_make.ipynb", as_version=4)
    assert "made 0\n" in [output.get("text") for cell in shown.cells for output in cell.get("outputs", ())]
    assert verify(checkout.context.places, "tiny", render=checkout.render) == []
    file = results / "notebooks/01_make.ipynb"
    file.write_text(file.read_text().replace("made 0", "made 1"))
    [fault] = verify(checkout.context.places, "tiny", render=checkout.render)
    assert "01_make.ipynb: not what 01_make showed when it ran" in fault
    file.unlink()
    assert verify(checkout.context.places, "tiny", render=checkout.render) == [
        "notebooks/01_make.ipynb: missing"
    ]


def test_another_execution_is_not_published_under_this_manifest(checkout) -> None:
    checkout.run()
    file = checkout.context.executed_file("02_use")
    write_json(file, read_json(file) | {"cells": []})
    with pytest.raises(NotPublishableError, match="not what 02_use showed"):
        publish(checkout.context)
