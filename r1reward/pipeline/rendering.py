"""Drawing the tables and figures of a run, and the record of what they were drawn from."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r1reward.files import read_json, sha256_file, write_json
from r1reward.pipeline.hashing import walk
from r1reward.pipeline.source import imported_files
from r1reward.pipeline.staleness import Context

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
