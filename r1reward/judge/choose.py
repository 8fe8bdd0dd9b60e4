"""The consistency judges of a profile by name (paper §3.2, Table 13)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from r1reward.judge.consistency import (
    ConsistencyJudge,
    FlippedConsistencyJudge,
    ModelConsistencyJudge,
    RandomConsistencyJudge,
)
from r1reward.judge.server import ServerConsistencyJudge
from r1reward.settings import Profile

JudgeName = Literal["strong", "weak", "noisy", "random"]
FLIPPED_SHARE = 0.25


def make_consistency_judge(
    profile: Profile, name: JudgeName, folder: Path, *, seed: int, cache: Path | None = None
) -> ConsistencyJudge:
    """A judge that `profile.judges` names; "noisy" flips a quarter of the strong one's opinions.

    Args:
        profile: says whether strong and weak judge are trained here or stand behind a server.
        name: one of the judges of Table 13.
        folder: holds the trained ones as `<name>/model`.
        seed: for the flips and the coin, and for waiting times.
        cache: where opinions of a server are kept; each process needs a folder of its own.

    Raises ServerError where a server's key or the extra `api` is missing.
    """
    if name == "random":
        return RandomConsistencyJudge(seed=seed)
    if name == "noisy":
        strong = make_consistency_judge(profile, "strong", folder, seed=seed, cache=cache)
        return FlippedConsistencyJudge(strong, share=FLIPPED_SHARE, seed=seed)
    if profile.judges.name == "trained":
        return ModelConsistencyJudge(folder / name / "model")
    section = "server" if name == "strong" else "weak_server"
    settings = getattr(profile.judges, section)
    return ServerConsistencyJudge(settings, folder=cache, section=f"judges.{section}", seed=seed)
