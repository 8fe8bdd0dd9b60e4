"""Where the paper, the authors' released code and this code do different things: `differences.toml`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from r1reward.config import load_profile
from r1reward.report.tables import titled


def differences() -> pd.DataFrame:
    """A row a difference: the paper's words, the released code, what this code does, and what switches it.

    What this code does is read from the setting or constant that a row names. Raises ValueError for a setting
    or constant that is not there.
    """
    paper, released = (load_profile(name).model_dump() for name in ("paper", "paper+released"))
    rows = []
    for entry in read_differences():
        row = {"difference": entry["what"], "paper": f"“{entry['paper']}”" if entry["paper"] else "nothing"}
        row |= {"released code": entry["release"], "where": entry["place"], "this code": ours(entry, paper)}
        rows.append(row | {"switched by": _switch(entry, released)})
    fixed = sum(not row["switched by"] for row in rows)
    notes = [
        f"{len(rows)} differences, of which {len(rows) - fixed} can be switched and {fixed} cannot.",
        "The preset `released` is laid over any profile: `--profile mini+released`.",
    ]
    return titled(pd.DataFrame(rows), "The paper, the released code and this code.", notes)


def read_differences() -> list[dict[str, str]]:
    """The rows of `differences.toml`."""
    text = files("r1reward.report").joinpath("differences.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["difference"]


def ours(entry: Mapping[str, str], profile: Mapping[str, Any]) -> str:
    """What this code does: the value of a setting of the profile paper, of a constant, or words."""
    kind, _, name = entry["ours"].partition(" ")
    if kind == "setting":
        return f"{name} = {_setting(profile, name)}"
    if kind == "constant":
        file, _, name = name.partition(" ")
        return f"{name} = {_constant(file, name)}"
    return entry["ours"]


def _switch(entry: Mapping[str, str], released: Mapping[str, Any]) -> str:
    """The setting of a row with its value in the preset `released`; words as they are."""
    name = entry["switch"]
    return name if not name or " " in name else f"{name} = {_setting(released, name)}"


def _setting(profile: Mapping[str, Any], name: str) -> Any:
    value: Any = profile
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ValueError(f"differences.toml: no setting is called {name}")
        value = value[part]
    return value


def _constant(file: str, name: str) -> Any:
    """A literal of a module, or of a class in it, read from its source: the module itself may need torch."""
    body = ast.parse(files("r1reward").joinpath(file).read_text(encoding="utf-8")).body
    *classes, name_of = name.split(".")
    for wanted in classes:
        body = next(
            (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == wanted), []
        )
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name_of for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise ValueError(f"differences.toml: {file} has no constant {name}")
