"""The only place that knows the names of the folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "R1REWARD_ROOT"
RUNS_VARIABLE = "R1REWARD_RUNS"
# Records of finished runs of grids that are not published yet, below results/<profile>/.
KEPT = "runs"
_PRINTED = "paper"
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of a checkout. `runs` may lie elsewhere, for example on a larger disk."""

    root: Path
    runs: Path

    @property
    def notebooks(self) -> Path:
        """Folder of the notebooks and of pipeline.toml, their table."""
        return self.root / "notebooks"

    @property
    def printed(self) -> Path:
        """What the paper prints: its tables and values. No run is published there."""
        return self.root / "results" / _PRINTED

    def results(self, profile: str) -> Path:
        """Committed records, tables and manifests of a profile."""
        return self.root / "results" / _folder_of(profile)

    def figures(self, profile: str) -> Path:
        """Committed figures of a profile."""
        return self.root / "figures" / _folder_of(profile)


def _folder_of(profile: str) -> str:
    """A run of the profile `paper` does not take the place of what the paper prints."""
    return f"{profile}_run" if profile == _PRINTED else profile


def find_places(root: str | Path | None = None) -> Places:
    """The folders of this checkout.

    R1REWARD_ROOT names another checkout and R1REWARD_RUNS another folder for the runs. Raises
    FileNotFoundError where no notebooks lie; where one is named, no other checkout takes its place.
    """
    named = root or os.environ.get(ROOT_VARIABLE)
    for candidate in [named] if named else [PACKAGE_FOLDER.parent, Path.cwd()]:
        folder = Path(candidate).resolve()
        if (folder / "notebooks" / "pipeline.toml").is_file():
            runs = os.environ.get(RUNS_VARIABLE)
            return Places(folder, Path(runs).resolve() if runs else folder / "runs")
    if named:
        raise FileNotFoundError(f"{ROOT_VARIABLE}: {named} is no checkout, it has no notebooks/pipeline.toml")
    raise FileNotFoundError(
        f"no notebooks/pipeline.toml here; run the command in a checkout or set {ROOT_VARIABLE} to one"
    )
