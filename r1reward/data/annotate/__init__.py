"""Long chains of thought by an annotator, with its number of attempts as difficulty (paper §3.2)."""

from __future__ import annotations

from pathlib import Path

from r1reward.data.annotate.answers import Annotation
from r1reward.data.annotate.base import (
    CHUNK_PAIRS,
    Annotator,
    AnnotatorError,
    BatchAnnotator,
    RemoteAnnotator,
    UnansweredError,
    annotate_batch,
    annotate_pair,
    annotate_pairs,
)
from r1reward.data.annotate.model import ModelAnnotator
from r1reward.data.annotate.openai import OpenAIAnnotator
from r1reward.data.annotate.scripted import ScriptedAnnotator, Truth, misread, read_truth
from r1reward.data.sources import RELEASED_FOR_RL
from r1reward.settings import DataSettings
from r1reward.types import PreferencePair


class Nobody:
    """The annotator of data that need none: it is never asked, and wants no key and no truth."""

    name = fingerprint = "nobody"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """Raises AnnotatorError."""
        raise AnnotatorError(f"nobody annotates {pair.pair_id}")

    def record(self) -> dict[str, object]:
        """Nothing to say."""
        return {}


def make_annotator(
    settings: DataSettings, truth_path: Path, seed: int, *, log: Path | None = None
) -> ScriptedAnnotator | OpenAIAnnotator | Nobody:
    """The annotator that the settings name; `Nobody` where all data are released as RL data.

    `truth_path` is for the scripted one. `log` gets a line for each request to a server. Raises
    AnnotatorError without the extra `api` or the key.
    """
    if settings.sources and set(settings.sources) <= set(RELEASED_FOR_RL):
        return Nobody()
    if settings.annotator == "openai":
        return OpenAIAnnotator(settings.openai, log=log, seed=seed)
    return ScriptedAnnotator(truth_path, settings.annotator_noise, seed)


def answers_folder(settings: DataSettings, work: Path, *, paid: Path) -> Path:
    """Where annotations are kept: in `work`, or, if a server is paid for them, where they outlive a run.

    That is the folder that the settings name, or one below `paid`.
    """
    if settings.annotator != "openai":
        return work
    return Path(settings.openai.folder) if settings.openai.folder else paid / "annotator"


__all__ = [
    "CHUNK_PAIRS",
    "Annotation",
    "Annotator",
    "AnnotatorError",
    "BatchAnnotator",
    "ModelAnnotator",
    "Nobody",
    "OpenAIAnnotator",
    "RemoteAnnotator",
    "ScriptedAnnotator",
    "Truth",
    "UnansweredError",
    "annotate_batch",
    "annotate_pair",
    "annotate_pairs",
    "answers_folder",
    "make_annotator",
    "misread",
    "read_truth",
]
