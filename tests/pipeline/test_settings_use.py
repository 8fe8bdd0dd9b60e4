"""What each notebook declares in pipeline.toml is what it and all code that it reaches read, no more or less.

The code is read, not run, so that settings of branches that no test enters are found too. Followed are whole
profiles: parameters that are annotated so, attributes called `profile`, and what is assigned from them. A
section that is passed on counts as read whole.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

import r1reward
from r1reward.files import write_atomic
from r1reward.pipeline.dag import code_cells, parse_cells, read_notebooks
from r1reward.pipeline.notebook import _OF_ALL
from r1reward.pipeline.places import find_places
from r1reward.settings import Profile, setting_names

PACKAGE = Path(r1reward.__file__).parent
PLACES = find_places()
NOTEBOOKS = read_notebooks(PLACES)
NAMES = list(setting_names(Profile))
LEAVES = {name for name in NAMES if not any(other.startswith(f"{name}.") for other in NAMES)}
# Carry settings and read none for a notebook; what reports call a profile is its name.
LEFT_OUT = ("r1reward.settings", "r1reward.config", "r1reward.pipeline", "r1reward.cli", "r1reward.report")


def leaves(names):
    """Single settings behind names of settings and sections, without those that every notebook may read."""
    found = {leaf for name in names for leaf in LEAVES if leaf == name or leaf.startswith(f"{name}.")}
    return found - set(_OF_ALL)


class Module:
    """Functions and classes of a module by name, and where its imported names come from."""

    def __init__(self, tree):
        self.defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        self.imported = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (alias.name, "")


@cache
def module(name, package=PACKAGE):
    path = package.joinpath(*name.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if name.partition(".")[0] == "r1reward" and file.is_file():
            return Module(ast.parse(file.read_text(encoding="utf-8")))
    return None


def definition(name, symbol, package):
    """Module and node of what `symbol` means in a module, through re-exports; None outside the package."""
    if name == "r1reward" and symbol in r1reward.EXPORTS:
        name = r1reward.EXPORTS[symbol]
    found = module(name, package)
    if found is None or name.startswith(LEFT_OUT):
        return None
    if symbol in found.defined:
        return name, found.defined[symbol]
    if symbol in found.imported:
        source, original = found.imported[symbol]
        return definition(source, original, package) if original else None
    return None


def settings_read(cells, package=PACKAGE):
    """Dotted names that the tree of a notebook's cells reads, with all code that it can reach."""
    here = Module(cells)
    read, seen, queue = set(), set(), [("", here, cells)]
    while queue:
        name, of, node = queue.pop()
        reader = Reader(node)
        read |= reader.read
        for used, attribute in reader.names:
            source, original = of.imported.get(used, (name, used))
            if module(f"{source}.{original}".rstrip("."), package):  # y.symbol, of a module y
                source, original = f"{source}.{original}".rstrip("."), attribute
            found = definition(source, original, package)
            if found and (found[0], found[1].name) not in seen:
                seen.add((found[0], found[1].name))
                queue.append((found[0], module(found[0], package), found[1]))
    return read


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class Reader(ast.NodeVisitor):
    """Settings that a piece of code reads, and the names that it uses."""

    def __init__(self, node):
        self.read, self.names, self._known = set(), set(), {}
        for part in ast.walk(node):
            if isinstance(part, ast.arg) and part.annotation and "Profile" in names_in(part.annotation):
                self._known[part.arg] = ""
        for part in ast.walk(node):
            if isinstance(part, ast.Assign):
                self._learn(part.targets[0], part.value)
        self.visit(node)

    def _learn(self, target, value):
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._learn(one, other)
        elif isinstance(target, ast.Name) and (path := self._path(value)) is not None:
            self._known[target.id] = path

    def _path(self, node):
        """Dotted name of the setting that an expression is, "" for a whole profile, None for others."""
        if isinstance(node, ast.Name):
            return self._known.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self._path(node.value)
            if base is not None:
                full = f"{base}.{node.attr}".lstrip(".")
                return full if full in NAMES else None
            return "" if node.attr == "profile" else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_copy = node.func.attr == "model_copy" and self._path(node.func.value) == ""
            return "" if is_copy else None
        return None

    def visit(self, node):
        path = self._path(node)
        if path:
            self.read.add(path)
            return
        if isinstance(node, ast.Assign) and self._is_learnt(node.targets[0], node.value):
            return
        if isinstance(node, ast.Name):
            self.names.add((node.id, ""))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            self.names.add((node.value.id, node.attr))
        self.generic_visit(node)

    def _is_learnt(self, target, value):
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=True)
            return all(self._is_learnt(one, other) for one, other in pairs)
        return isinstance(target, ast.Name) and self._path(value) is not None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_declares_what_it_reads(notebook):
    read = settings_read(parse_cells(code_cells(PLACES.notebooks / f"{notebook.name}.ipynb")))
    declared = leaves(notebook.settings)
    assert leaves(read) - declared == set(), f"{notebook.name} reads it, and pipeline.toml does not say so"
    assert declared - leaves(read) == set(), f"pipeline.toml says that {notebook.name} reads it"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_takes_settings_from_its_run_alone(notebook):
    tree = parse_cells(code_cells(PLACES.notebooks / f"{notebook.name}.ipynb"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"load_profile", "Profile"} and "context" not in attributes


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("print(run.profile.rl.epochs, run.profile.sft)", {"rl.epochs", "sft"}),
        (
            "s = run.profile.downstream\nprint(s.draws, s.rl.epochs)",
            {"downstream.draws", "downstream.rl.epochs"},
        ),
        ("a, b = run.profile.data, run.work('x')\nfetch(a)", {"data"}),
        ("train({'settings': run.profile.rl})", {"rl"}),
        ("train(run.profile.rl.model_copy(update={}))", {"rl"}),
        ("f(**run.profile.sft.model_dump())", {"sft"}),
        ("from r1reward.one import first\nfirst(run.profile)", {"engine.name", "bench.unparsed", "judges"}),
        ("from r1reward import one\none.first(run.profile)", {"engine.name", "bench.unparsed", "judges"}),
        ("from r1reward.one import Box\nBox(profile=run.profile)", {"scaling.pairs", "model.prompt"}),
    ],
)
def test_how_settings_are_followed(tmp_path, code, read):
    one = """
from r1reward.two import second
class Box:
    profile: Profile
    def go(self):
        return self.profile.scaling.pairs, other(self)
def first(profile: Profile):
    print(profile.engine.name)
    return partial(second, profile=profile)
def other(box):
    return box.profile.model_copy(update={}).model.prompt
def unreached(profile: Profile):
    return profile.rating
"""
    two = """
def second(*, profile: str | Profile):
    x = profile.bench
    return x.unparsed, getattr(profile.judges, "a")
"""
    write_atomic(tmp_path / "__init__.py", "")
    write_atomic(tmp_path / "one.py", one)
    write_atomic(tmp_path / "two.py", two)
    assert settings_read(ast.parse(code), tmp_path) == read
