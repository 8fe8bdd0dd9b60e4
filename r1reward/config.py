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
# Folders beside those of the profiles: the base model's build, the raters' answers, what was moved aside,
# what servers were paid for, and where a run of the profile `paper` is published.
RESERVED_NAMES = ("base", "ratings", "aside", "paid", "paper_run")


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file and key."""


def load_profile(name: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile by name, or from the path of a TOML file.

    A file may lay its settings over those of a profile of the package: `extends = "paper"`. It needs a name
    of its own, for runs and results are filed under it.
    `mini+released` lays `profiles/presets/released.toml` over `mini`; the profile is then called so.
    `overrides` is laid over both: `{"rl": {"max_steps": 3}}`.
    Raises ProfileError for an unknown file, key or value, and for a name that is taken or is no name.
    """
    text, preset = str(name), None
    if "+" in Path(name).name and Path(name).suffix != ".toml":
        text, _, preset = text.rpartition("+")
    path = _profile_path(text, PROFILE_FOLDER)
    layers = _read_profile(path)
    _check_name(path, layers[-1][1])
    if preset is not None:
        layers.append(_read_layer(_profile_path(preset, PROFILE_FOLDER / "presets")))
    if overrides:
        layers.append(("overrides", dict(overrides)))
    # A section of which a file gives a part keeps the rest of its default (downstream.rl is GRPO).
    merged = Profile(name="defaults", sentence="-").model_dump(exclude={"name", "sentence"})
    for _, values in layers:
        merged = _lay_over(merged, values)
    if preset is not None:
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


def _check_name(path: Path, own: Mapping[str, Any]) -> None:
    """Refuse a file whose runs and results would lie in the folders of something else."""
    if path.resolve().parent == PROFILE_FOLDER.resolve():
        return
    name, shipped = own.get("name"), profile_names()
    if name is None:
        raise ProfileError(f"{path}: name is missing: runs and results are filed under a name of their own")
    if isinstance(name, str) and name.casefold() in (*shipped, *RESERVED_NAMES):
        taken = "a profile of the package" if name.casefold() in shipped else "another folder of the runs"
        raise ProfileError(f"{path}: name = {name!r} is the name of {taken}; choose another one")
    if isinstance(name, str) and "+" in name:
        raise ProfileError(f"{path}: name = {name!r}: what follows a + is the name of a preset")


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
        return str(path), tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise ProfileError(f"{path}: nested too deeply") from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error


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
    origin = _origin(layers, location)
    if fault["type"] != "extra_forbidden":
        return f"{origin}: {key}: {fault['msg']}{_shown(location, fault.get('input'))}"
    fields = Profile.model_fields
    for part in location[:-1]:
        fields = fields[part].annotation.model_fields  # type: ignore[union-attr]
    match = difflib.get_close_matches(location[-1], fields, n=1)
    advice = f"did you mean {match[0]}?" if match else f"known here: {', '.join(fields)}"
    return f"{origin}: unknown key {key}; {advice}"


def _shown(location: Sequence[str], value: object, limit: int = 100) -> str:
    """The start of a value that is refused, unless a key may stand in it."""
    text = repr(value)
    if location[-1:] in (["base_url"], ["key_variable"]) or "://" in text:
        return ""
    return f" (got {text if len(text) <= limit else text[:limit] + '...'})"


def _origin(layers: Sequence[tuple[str, Mapping[str, Any]]], location: Sequence[str]) -> str:
    """The layer that holds most of a location, the last of them: a value stands where its key does."""
    depths = [_depth(values, location) for _, values in layers]
    return layers[max(range(len(layers)), key=lambda index: (depths[index], index))][0]


def _depth(values: Any, location: Sequence[str]) -> int:
    """How many parts of a location lead into `values`."""
    for depth, part in enumerate(location):
        if not isinstance(values, Mapping) or part not in values:
            return depth
        values = values[part]
    return len(location)
