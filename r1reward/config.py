"""Profiles: the settings of a run, read from `profiles/*.toml`.

A profile changes sizes, model ids, prompts and engines, never the code path. `paper.toml` holds the
hyper-parameters of the paper's §4, each with its sentence; presets in `profiles/presets/` are laid
over any profile.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from r1reward.settings import Profile

PROFILE_FOLDER = Path(__file__).parent / "profiles"


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file and key."""


def load_profile(
    name: str | Path, *, overrides: Mapping[str, Any] | None = None, preset: str | None = None
) -> Profile:
    """Read a profile by name, or from the path of a TOML file.

    A file may lay its settings over those of a profile of the package: `extends = "paper"`.
    `mini+released` lays `profiles/presets/released.toml` over `mini`, as `preset="released"` does; the
    profile is then called `mini+released`. `overrides` is laid over both: `{"rl": {"max_steps": 3}}`.
    Raises ProfileError for an unknown file, key or value.
    """
    text, _, suffix = str(name).rpartition("+") if "+" in Path(name).name else (str(name), "", "")
    preset = suffix or preset
    layers = _read_profile(_profile_path(text, PROFILE_FOLDER))
    if preset:
        layers.append(_read_layer(_profile_path(preset, PROFILE_FOLDER / "presets")))
    if overrides:
        layers.append(("overrides", dict(overrides)))
    merged: dict[str, Any] = {}
    for _, values in layers:
        merged = _lay_over(merged, values)
    if preset:
        merged["name"] = f"{merged.get('name', text)}+{preset}"
    try:
        return Profile.model_validate(merged)
    except ValidationError as error:
        raise ProfileError("\n".join(_explain(fault, layers) for fault in error.errors())) from error


def profile_names() -> list[str]:
    """Names of the profiles that ship with the package."""
    return sorted(path.stem for path in PROFILE_FOLDER.glob("*.toml"))


def _profile_path(name: str, folder: Path) -> Path:
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ProfileError(f"there is no profile {path}; known here: {known}")
    return path


def _read_profile(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The layers of a profile's file: what it extends, then itself."""
    file, values = _read_layer(path)
    below = values.pop("extends", None)
    if below is None:
        return [(file, values)]
    if below not in profile_names():
        raise ProfileError(f"{file}: extends = {below!r}; known: {', '.join(profile_names())}")
    return [_read_layer(PROFILE_FOLDER / f"{below}.toml"), (file, values)]


def _read_layer(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: not TOML: {error}") from error


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _lay_over(old, value)
        merged[key] = value
    return merged


def _explain(fault: Mapping[str, Any], layers: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    origin = next((file for file, values in reversed(layers) if _has(values, location)), layers[0][0])
    if fault["type"] != "extra_forbidden":
        return f"{origin}: {key}: {fault['msg']} (got {fault.get('input')!r})"
    fields = Profile.model_fields
    for part in location[:-1]:
        fields = fields[part].annotation.model_fields  # type: ignore[union-attr]
    match = difflib.get_close_matches(location[-1], fields, n=1)
    advice = f"did you mean {match[0]}?" if match else f"known here: {', '.join(fields)}"
    return f"{origin}: unknown key {key}; {advice}"


def _has(values: Any, location: Sequence[str]) -> bool:
    for part in location:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
