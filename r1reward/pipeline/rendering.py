"""What is shown of a run: tables, figures, page, what they were drawn from, and executed notebooks."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from r1reward.files import read_json, sha256_file, write_atomic, write_json
from r1reward.pipeline.dag import imported_files
from r1reward.pipeline.places import walk
from r1reward.pipeline.staleness import Context
from r1reward.report.records import read_manifests

# Draws root/records into root/tables and root/figures and returns what it wrote.
Render = Callable[[Path], list[Path]]
DRAWN = ("tables", "figures")
# Files drawn beside them: the claims and the page.
DRAWN_FILES = ("claims.json", "index.html")
_ENTRY = "from r1reward.report.render import render"


def draw(root: Path) -> list[Path]:
    """Every table and figure of a run or results folder, by the project's report."""
    from r1reward.report.render import render

    return render(root)


def drawn_file(context: Context) -> Path:
    """Where it is written what the tables and figures of a run were drawn from."""
    return context.folder / "manifests" / "report.json"


def drawing_is_fresh(context: Context) -> bool:
    """Whether tables and figures belong to the records, the paper's values and the drawing code."""
    file = drawn_file(context)
    if not file.is_file():
        return False
    now = {"sources": _sources(context), "outputs": _outputs(context.folder)}
    try:
        return read_json(file) == now
    except ValueError:
        return False


def refresh_drawing(context: Context, *, render: Render = draw) -> bool:
    """Draw tables and figures where they are not fresh; returns whether anything was drawn."""
    if drawing_is_fresh(context):
        return False
    sources = _sources(context)
    render(context.folder)
    write_json(drawn_file(context), {"sources": sources, "outputs": _outputs(context.folder)})
    return True


def _sources(context: Context) -> dict[str, Any]:
    folders = {"records": context.folder / "records", "paper": context.places.printed}
    hashes = {name: context.hashes.tree(folder) for name, folder in folders.items()}
    context.hashes.save()
    code = hashlib.sha256()
    for name, file in sorted(imported_files(ast.parse(_ENTRY)).items()):
        code.update(f"{name}\0{sha256_file(file)}\n".encode())
    return {**hashes, "code": code.hexdigest()}


def _outputs(folder: Path) -> dict[str, str]:
    drawn = {f"{kind}/{name}": sha256_file(file) for kind in DRAWN for name, file in walk(folder / kind)}
    files = {name: folder / name for name in DRAWN_FILES}
    return drawn | {name: sha256_file(file) for name, file in files.items() if file.is_file()}


# In a manifest: the hash of the executed notebook in its published form. A run by hand has none.
EXECUTED = "executed"

# Forms of an output that a code host shows, the best first; a table keeps its text beside it.
_PICTURE = "image/png"
_TEXTS = ("text/markdown", "text/html", "text/latex", "text/plain")
_WIDGET = "application/vnd.jupyter.widget-view+json"


def write_clean(executed: Path, target: Path, *, places: Mapping[str, str]) -> Path:
    """Write the published form of an executed notebook; returns `target`.

    Progress and warnings (stderr), overwritten lines, widgets and the times of cells are left out, a figure
    is kept once. `places` are absolute folders with what to write for them. The same outputs give the same
    bytes.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata = {
        name: notebook.metadata[name] for name in ("kernelspec",) if name in notebook.metadata
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _clean(output))]
    text = nbformat.writes(nbformat.from_dict(notebook))
    for folder in sorted(places, key=len, reverse=True):
        text = text.replace(folder, places[folder])
    return write_atomic(target, text + "\n")


def check_executed(results: Path) -> list[str]:
    """Differences between published executed notebooks and the hashes in the manifests beside them."""
    promised = promised_notebooks(results)
    present = {file.stem: file for file in (results / "notebooks").glob("*.ipynb")}
    faults = [f"notebooks/{name}.ipynb: missing" for name in sorted(promised.keys() - present.keys())]
    faults += [
        f"{file}: not what {name} showed when it ran"
        for name, file in sorted(present.items())
        if sha256_file(file) != promised.get(name)
    ]
    return faults


def promised_notebooks(root: Path) -> dict[str, str]:
    """Hashes of the executed notebooks that belong to the manifests of a run or results folder."""
    manifests = read_manifests(root, keys=())
    return {name: manifest[EXECUTED] for name, manifest in manifests.items() if EXECUTED in manifest}


def _clean(output: Mapping[str, Any]) -> dict[str, Any] | None:
    """An output without noise, or None where nothing is left of it."""
    if output["output_type"] == "stream":
        text = re.sub(r"(?m)^.*\r(?!\n)", "", output["text"]) if output["name"] == "stdout" else ""
        return {**output, "text": text} if text.strip() else None
    data = output.get("data", {})
    if not data or _WIDGET in data:
        return None
    kept = (_PICTURE,) if _PICTURE in data else _TEXTS
    return {**output, "data": {form: data[form] for form in kept if form in data}, "metadata": {}}
