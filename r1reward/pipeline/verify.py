"""Verifying what is committed: records against their manifests, tables and figures against the records."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path

from r1reward.files import read_json, sha256_file, write_atomic
from r1reward.pipeline.aside import move_aside
from r1reward.pipeline.hashing import walk
from r1reward.pipeline.places import Places
from r1reward.pipeline.publish import replace_folder
from r1reward.pipeline.rendering import DRAWN_FILES, Render, draw
from r1reward.report.page import take_apart

# Mean absolute difference of 8-bit channels; fonts rasterise slightly differently elsewhere.
PNG_TOLERANCE = 2.0
_SVG_NOISE = (
    re.compile(r"<dc:date>.*?</dc:date>", re.DOTALL),
    re.compile(r"<dc:title>Matplotlib v[^<]*</dc:title>"),
    re.compile(r"Matplotlib v[\d.]+, https?://matplotlib\.org/?"),
    re.compile(r"<!--.*?-->", re.DOTALL),
)


def published_profiles(places: Places) -> list[str]:
    """Profiles that have committed results."""
    return sorted(file.parent.name for file in (places.root / "results").glob("*/manifests"))


def verify(places: Places, profile: str, *, render: Render = draw) -> list[str]:
    """Faults of a profile's committed results, each as a sentence; empty when all is well."""
    results, figures = places.results(profile), places.figures(profile)
    if not (results / "manifests").is_dir():
        return [f"{results} holds no manifests: nothing is published for {profile}"]
    faults = check_records(results)
    with tempfile.TemporaryDirectory() as temporary:
        drawn = redraw(results, Path(temporary) / profile, render=render)
        faults += compare_folders(results / "tables", drawn / "tables")
        faults += compare_folders(figures, drawn / "figures")
        for name in DRAWN_FILES:
            faults += _compare_drawn_file(results / name, drawn / name)
    return faults


def redraw_published(places: Places, profile: str, *, render: Render = draw) -> list[Path]:
    """Draw the committed tables and figures again from the committed records; returns the folders."""
    results, figures = places.results(profile), places.figures(profile)
    with tempfile.TemporaryDirectory() as temporary:
        drawn = redraw(results, Path(temporary) / profile, render=render)
        for target, name in ((results / "tables", "tables"), (figures, "figures")):
            replace_folder(target, {"": drawn / name}, dispose=partial(_keep_strays, places.runs, target))
        for file in (drawn / name for name in DRAWN_FILES):
            if file.is_file():
                write_atomic(results / file.name, file.read_bytes())
    return [results / "tables", figures]


def _keep_strays(runs: Path, target: Path, old: Path) -> None:
    """Move files aside that nothing draws; drawn ones can be drawn again."""
    drawn = {name for name, _ in walk(target)}
    strays = {
        f"{target.parent.name}/{target.name}/{name}": file for name, file in walk(old) if name not in drawn
    }
    if strays:
        print(f"files in {target} that nothing draws are now in {move_aside(runs, strays)}")
    shutil.rmtree(old)


def redraw(results: Path, target: Path, *, render: Render) -> Path:
    """Draw the records of a results folder into the new folder `target`."""
    for name in ("records", "manifests"):
        shutil.copytree(results / name, target / name)
    render(target)
    for name in ("tables", "figures"):
        (target / name).mkdir(exist_ok=True)
    return target


def check_records(results: Path) -> list[str]:
    """Differences between the records and the hashes in the manifests beside them."""
    files = sorted((results / "manifests").glob("[0-9]*.json"))
    manifests = {file.stem: read_json(file)["outputs"] for file in files}
    promised = {
        path: (digest, name)
        for name, outputs in manifests.items()
        for path, digest in outputs.items()
        if path.startswith("records/")
    }
    present = {f"records/{name}": file for name, file in walk(results / "records")}
    faults = [f"{path}: missing, although {promised[path][1]} wrote it" for path in promised.keys() - present]
    faults += [f"{path}: no manifest knows it" for path in present.keys() - promised.keys()]
    for path in sorted(promised.keys() & present.keys()):
        if sha256_file(present[path]) != promised[path][0]:
            faults.append(f"{path}: differs from what {promised[path][1]} wrote")
    return faults


def compare_folders(committed: Path, drawn: Path) -> list[str]:
    """Differences between committed and newly drawn files, by the rule of their kind."""
    old, new = dict(walk(committed)), dict(walk(drawn))
    faults = [f"{committed / name}: missing" for name in sorted(new.keys() - old.keys())]
    faults += [f"{committed / name}: nothing draws it" for name in sorted(old.keys() - new.keys())]
    for name in sorted(old.keys() & new.keys()):
        difference = compare_files(old[name], new[name])
        if difference:
            faults.append(f"{old[name]}: {difference}")
    return faults


def _compare_drawn_file(committed: Path, drawn: Path) -> list[str]:
    if not drawn.is_file():
        return []
    difference = compare_files(committed, drawn) if committed.is_file() else "missing"
    return [f"{committed}: {difference}"] if difference else []


def compare_files(committed: Path, drawn: Path) -> str:
    """How two files of one name differ, "" when they agree.

    SVG is compared without dates and version marks, also inside the page, PNG within PNG_TOLERANCE,
    PDF (whose text is the SVG's) not at all, everything else byte by byte.
    """
    old, new = committed.read_bytes(), drawn.read_bytes()
    if old == new or committed.suffix == ".pdf":
        return ""
    if committed.suffix == ".png":
        return _compare_pictures(old, new)
    if committed.suffix == ".svg" and normalise_svg(old) == normalise_svg(new):
        return ""
    if committed.suffix == ".html" and _parts(old) == _parts(new):
        return ""
    return "differs from what is drawn from the records"


def _parts(page: bytes) -> tuple[str, list[str]]:
    text, figures = take_apart(page.decode("utf-8"))
    return text, [normalise_svg(figure) for figure in figures]


def normalise_svg(content: bytes) -> str:
    """An SVG without dates, version marks and comments."""
    text = content.decode("utf-8")
    for noise in _SVG_NOISE:
        text = noise.sub("", text)
    return text


def _compare_pictures(old: bytes, new: bytes) -> str:
    import numpy as np
    from PIL import Image

    one, other = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), dtype=float) for data in (old, new)
    )
    if one.shape != other.shape:
        return f"has {one.shape[1]}x{one.shape[0]} pixels, drawn {other.shape[1]}x{other.shape[0]}"
    difference = float(np.abs(one - other).mean())
    return f"differs by {difference:.2f} levels a pixel" if difference > PNG_TOLERANCE else ""
