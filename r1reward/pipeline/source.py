"""What the code of a notebook depends on, found by reading it: modules of the package, and the seeds.

Nothing is imported. The modules that only carry parameters to a notebook (`settings`, `config`,
`pipeline`, `cli`) are left out: what they carry is compared by value.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path

from r1reward import EXPORTS
from r1reward.pipeline.places import PACKAGE_FOLDER

PACKAGE = "r1reward"
_CARRIERS = ("r1reward.settings", "r1reward.config", "r1reward.pipeline", "r1reward.cli")
_DATA_SUFFIXES_LEFT_OUT = (".py", ".pyc")


def code_cells(notebook: Path) -> list[str]:
    """Sources of the code cells, without outputs and metadata."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def parse_cells(cells: Iterable[str]) -> ast.Module:
    """Syntax tree of the cells together; lines for IPython (% and !) are blanked."""
    lines = "\n".join(cells).splitlines()
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines))


def uses_seeds(tree: ast.Module) -> bool:
    """Whether the cells use the seeds of the run; passing the run on as a whole counts."""
    runs = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _calls(node.value, "start")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("seed", "seeds"))
        or (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in runs
            and id(node) not in bases
        )
        for node in ast.walk(tree)
    )


def imported_files(tree: ast.Module, package_folder: Path = PACKAGE_FOLDER) -> dict[str, Path]:
    """Files of the package that the code imports, directly or through other modules.

    Keys are module names, and folder-relative names for the data files (prompts, checkpoint) that lie
    in an imported sub-package.
    """
    found: dict[str, Path] = {}
    queue = sorted(_imports(tree, PACKAGE))
    while queue:
        module = queue.pop()
        file = _module_file(module, package_folder)
        if file is None or module in found or module.startswith(_CARRIERS):
            continue
        found[module] = file
        queue.extend(_parents(module))
        is_package = file.name == "__init__.py"
        if is_package and module != PACKAGE:
            found.update(_data_files(file.parent, package_folder))
        if module == PACKAGE:
            continue  # what it exports is loaded only where it is named
        inside = module if is_package else module.rpartition(".")[0]
        queue.extend(_imports(ast.parse(file.read_text(encoding="utf-8")), inside))
    return found


def _imports(tree: ast.AST, inside: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = inside.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
            if base == PACKAGE:
                names.update(EXPORTS[alias.name] for alias in node.names if alias.name in EXPORTS)
    return {name for name in names if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def _module_file(module: str, package_folder: Path) -> Path | None:
    path = package_folder.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _data_files(folder: Path, package_folder: Path) -> dict[str, Path]:
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {
        file.relative_to(package_folder).as_posix(): file
        for file in files
        if file.suffix not in _DATA_SUFFIXES_LEFT_OUT
    }


def _calls(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
