"""What there is to run, what it costs and where it stands: the tables of the start notebook."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import psutil

from r1reward.config import load_profile, profile_names
from r1reward.files import read_json
from r1reward.pipeline import environment
from r1reward.pipeline.places import Places, find_places
from r1reward.pipeline.staleness import Parameters, examine_all, make_context

GIB = 1 << 30


def profiles() -> pd.DataFrame:
    """Every profile that ships: what it is for and what it trains."""
    found = [load_profile(name) for name in profile_names()]
    rows = [(one.name, one.sentence, one.model.base, one.downstream.policy) for one in found]
    return pd.DataFrame(rows, columns=["profile", "for", "model", "downstream policy"])


def notebooks(profile: str = "mini", *, out: str = "") -> pd.DataFrame:
    """Every notebook: its question, where it stands here, and what it took where it was published.

    Minutes are those of the committed results, with their seeds, or empty.
    """
    places = find_places()
    context = make_context(places, Parameters(profile=profile, out=out))
    standings = examine_all(context)
    rows = []
    for notebook in context.notebooks:
        state = standings[notebook.name].state if notebook.name in standings else "on request"
        minutes, seeds = _published(places, profile, notebook.name)
        rows.append((notebook.name, notebook.question, str(state), minutes, seeds))
    return pd.DataFrame(rows, columns=["notebook", "question", "here", "minutes", "seeds"])


def _published(places: Places, profile: str, name: str) -> tuple[str, str]:
    file = places.results(profile) / "manifests" / f"{name}.json"
    if not file.is_file():
        return "", ""
    manifest = read_json(file)
    return f"{manifest['wall_seconds'] / 60:.0f}", str(len(manifest["seeds"]))


def machine() -> pd.DataFrame:
    """What this machine has, beside what the profile mini needs; accelerators once torch is loaded."""
    device = environment.device()
    free = shutil.disk_usage(Path.cwd()).free / GIB
    memory = psutil.virtual_memory().total / GIB
    rows = [
        ("processor cores", str(device["cores"]), "2"),
        ("memory", f"{memory:.0f} GiB", "8 GiB"),
        ("free disk", f"{free:.0f} GiB", "5 GiB"),
        ("accelerators", ", ".join(device.get("accelerators", [])) or "none", "none"),
    ]
    return pd.DataFrame(rows, columns=["", "here", "profile mini needs"])
