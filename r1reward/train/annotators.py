"""How much the cold start depends on who annotates (paper C.8, Table 10).

Every annotator is asked about the same pairs, only its right answers are kept, and the base model learns
from each set with the same settings. The weak annotator is a real model: the base model
without its last layers, after a short lesson in judging on other pairs. The ideal one is the script without
its weaknesses: what a cold start could be.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from r1reward.data.annotate import annotate_pairs
from r1reward.data.annotators import ModelAnnotator, OpenAIAnnotator, answers_folder
from r1reward.data.build import PAIRS
from r1reward.data.cold_start import select_sft
from r1reward.data.sources import RELEASED_FOR_RL
from r1reward.data.storage import iterate_pairs, iterate_sft, read_pairs, write_pairs
from r1reward.engines import load_engine
from r1reward.engines.loading import checkpoint_hash, keep_layers, load_model, save_model
from r1reward.files import iterate_jsonl, write_json
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.progress import Progress
from r1reward.settings import ModelSettings, Profile, ScriptSettings, SFTSettings
from r1reward.train import checkpoint
from r1reward.train.sft import train_sft

Arm = Literal["strong", "weak", "weak_sampled", "weak_reworded", "ideal"]
ARMS: tuple[Arm, ...] = get_args(Arm)
STUDY_SEED = 0  # draws the pairs of the study, the same for all runs
SEED_STEP = 1000  # more than the attempts, which raise a server's seed by one each


def write_study_pairs(data: Path, out: Path, *, profile: Profile) -> None:
    """Draw the pairs of the study into `out/pairs.jsonl` and other examples into `out/lessons.jsonl`.

    `data` holds the built pairs, the validation split and the cold start's `sft.jsonl`. Raises
    ValueError where nothing is left for the lessons.
    """
    study, path = profile.annotators, data / "built" / PAIRS
    validation = {pair.pair_id for pair in iterate_pairs(data / "validation.jsonl")}
    for_training = (pair for pair in iterate_pairs(path) if pair.pair_id not in validation)
    names = [pair.pair_id for pair in for_training if pair.source not in RELEASED_FOR_RL]
    order = np.random.default_rng([STUDY_SEED, len(names)]).permutation(len(names))
    ids = {names[index] for index in order[: study.pairs]}
    pairs = [pair for pair in iterate_pairs(path) if pair.pair_id in ids]
    others = (example for example in iterate_sft(data / "sft.jsonl") if example.pair.pair_id not in ids)
    lessons = list(islice(others, study.lessons))
    if not lessons:
        raise ValueError(f"annotators.pairs = {study.pairs} leaves no cold-start example for the lessons")
    write_pairs(out / "pairs.jsonl", pairs)
    write_pairs(out / "lessons.jsonl", lessons)


def arms_of(profile: Profile) -> tuple[Arm, ...]:
    """The arms that there can be: of real annotators none is ideal."""
    return tuple(arm for arm in ARMS if arm != "ideal" or profile.data.annotator == "scripted")


def trained_arms(profile: Profile) -> tuple[Arm, ...]:
    """The arms whose annotator is trained here first; the others share it, or ask a server."""
    return () if profile.data.annotator == "openai" else ("weak", "weak_reworded")


def train_weak_annotator(arm: Arm, *, out: Path, profile: Profile, seed: int) -> Path:
    """The weak annotator of an arm, trained on `out/lessons.jsonl`; returns its checkpoint folder."""
    folder = out / f"annotator_{_prompt_of(arm, profile)}" / f"seed_{seed}"
    start = folder / "start"
    if not start.is_dir():
        checkpoint.write_folder(
            start, lambda path: keep_layers(profile.model.base, range(profile.annotators.layers), path)
        )
    return train_sft(
        start,
        out / "lessons.jsonl",
        out=folder,
        settings=_sft_settings(profile),
        model_settings=_model_settings(arm, profile),
        seed=seed,
    )


def run_arm(
    arm: Arm, *, data: Path, out: Path, paid: Path, record: Path, profile: Profile, seed: int
) -> dict[str, Any]:
    """Annotate the study's pairs, learn from the right answers, and record how often each attempt was right.

    The strong annotator's answers are those of the cold start: nothing is asked twice. Answers of servers are
    kept below `paid`, unless the settings name a folder for them.
    """
    pairs, folder = read_pairs(out / "pairs.jsonl"), out / arm / f"seed_{seed}"
    if arm == "strong":
        ids = {pair.pair_id for pair in pairs}
        examples = [example for example in iterate_sft(data / "sft.jsonl") if example.pair.pair_id in ids]
        attempts = _attempts_of_the_cold_start(data, ids, answers_folder(profile.data, data, paid=paid))
        annotator = profile.data.annotator
    else:
        answers = _answers_folder(arm, folder, paid=paid, profile=profile, seed=seed)
        log = answers / "requests.jsonl"
        asked = _make_annotator(arm, data=data, out=out, log=log, profile=profile, seed=seed)
        annotations = annotate_pairs(
            asked,
            pairs,
            path=answers / "annotations.jsonl",
            max_attempts=profile.data.max_attempts,
            progress=Progress(f"{arm}, seed {seed}: annotating"),
        )
        examples = list(select_sft(pairs, annotations))
        attempts = [one.attempts if one.reached else 0 for one in annotations if not one.unanswered]
        annotator = asked.name
    path = write_pairs(folder / "sft.jsonl", examples)
    found = {"arm": arm, "annotator": annotator, **_count(attempts), "examples": len(examples)}
    write_json(record / "annotation.json", found)
    if examples:
        settings = {"settings": _sft_settings(profile), "model_settings": profile.model}
        train_sft(profile.model.base, path, out=folder, record=record, seed=seed, **settings)
    else:
        # An annotator that was never right teaches nothing.
        base = checkpoint_hash(profile.model.base)
        checkpoint.open_run(folder, {"untaught": base}, record=record)
        learnt = load_model(profile.model.base)
        checkpoint.write_folder(folder / "model", lambda path: save_model(*learnt, path))
    return found


def _attempts_of_the_cold_start(data: Path, ids: Collection[str], answers: Path) -> list[int]:
    """Attempts of the strong annotator for these pairs, 0 where it never reached the label.

    What is no RL data it was right about at once. Pairs without an answer do not count.
    """
    answered = {row["pair_id"] for row in iterate_jsonl(answers / "annotations.jsonl", drop_partial=True)}
    found = dict.fromkeys(sorted(answered & {*ids}), 1)
    for pair in iterate_pairs(data / "rl.jsonl"):
        if pair.pair_id in found:
            found[pair.pair_id] = pair.meta["attempts"] if pair.meta["reached"] else 0
    return list(found.values())


def _answers_folder(arm: Arm, work: Path, *, paid: Path, profile: Profile, seed: int) -> Path:
    """As `answers_folder`, of an arm whose annotator is weak."""
    if profile.data.annotator != "openai":
        return work
    folder = profile.annotators.openai.folder
    return (Path(folder) if folder else paid / "annotators") / arm / f"seed_{seed}"


def _make_annotator(
    arm: Arm, *, data: Path, out: Path, log: Path, profile: Profile, seed: int
) -> ModelAnnotator | OpenAIAnnotator | ScriptedAnnotator:
    study, prompt = profile.annotators, _prompt_of(arm, profile)
    if arm == "ideal":
        world = Path(profile.data.root or data / "world")
        return ScriptedAnnotator(world / "truth.jsonl", ScriptSettings(), seed)
    if profile.data.annotator == "openai":
        settings = study.openai
        if arm == "weak_sampled":
            drawn = None if settings.seed is None else settings.seed + SEED_STEP * seed
            settings = settings.model_copy(update={"temperature": study.temperature, "seed": drawn})
        return OpenAIAnnotator(settings, prompt=prompt, section="annotators.openai", log=log)
    folder = train_weak_annotator(arm, out=out, profile=profile, seed=seed)
    changed = profile.model_copy(update={"model": _model_settings(arm, profile)})
    return ModelAnnotator(
        load_engine(folder, changed),
        model=checkpoint_hash(folder),
        prompt=prompt,
        max_new_tokens=profile.engine.max_new_tokens,
        temperature=study.temperature if arm == "weak_sampled" else 0.0,
        retry_temperature=study.temperature,
        seed=seed,
        batch_size=profile.engine.batch_size,
    )


def _sft_settings(profile: Profile) -> SFTSettings:
    """Of the weak annotator's lesson and of every cold start of the study."""
    study = profile.annotators
    changes = {"epochs": study.epochs, "learning_rate": study.learning_rate, "max_examples": None}
    micro = min(study.batch_size, profile.sft.micro_batch_size)
    sizes = {"batch_size": study.batch_size, "micro_batch_size": micro}
    return profile.sft.model_copy(update=changes | sizes)


def _prompt_of(arm: Arm, profile: Profile) -> Any:
    return "reworded" if arm == "weak_reworded" else profile.model.prompt


def _model_settings(arm: Arm, profile: Profile) -> ModelSettings:
    return profile.model.model_copy(update={"prompt": _prompt_of(arm, profile)})


def _count(attempts: Sequence[int]) -> dict[str, Any]:
    """Shares of the pairs whose first, or any, attempt was right; an attempt of 0 never was."""
    right = [attempt == 1 for attempt in attempts]
    return {
        "pairs": len(attempts),
        "first_attempt_accuracy": sum(right) / max(1, len(right)),
        "reached_share": sum(attempt > 0 for attempt in attempts) / max(1, len(attempts)),
    }
