"""Small models trained to tell whether a reasoning supports its answer (paper §3.2, C.11, at mini scale).

They learn from what annotator and policy really write: a reasoning with its own answer, and with the other.
Which of the two agree is read from the last conclusion of the reasoning; the label of the pair is never
shown. They are tested on the policy's answers to other pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.data.storage import write_rows
from r1reward.engines import Sampling, load_engine
from r1reward.files import read_jsonl
from r1reward.judge.consistency_judges import (
    ConsistencyJudge,
    JudgeName,
    ScriptedConsistencyJudge,
    make_consistency_judge,
)
from r1reward.judge.generative import judge_samples
from r1reward.parsing import extract_reasoning, parse_verdict
from r1reward.prompts import PromptName, consistency_prompt
from r1reward.settings import JudgeSettings, ModelSettings, Profile, SFTSettings
from r1reward.stats import share_interval
from r1reward.train.sft import train_sft
from r1reward.types import PreferencePair, Request, Verdict


@dataclass(frozen=True, slots=True)
class Opinion:
    """A reasoning about a pair, an answer that stands below it, and whether the reasoning supports it."""

    reasoning: str
    verdict: Verdict
    agrees: bool
    pair_id: str


@dataclass(frozen=True, slots=True)
class TextExample:
    """A question without pictures and its answer."""

    text: str
    completion: str

    def request(self, prompt: PromptName) -> Request:
        """The question as it stands; judge prompts play no part."""
        return Request(self.text)


def make_opinions(answers: Sequence[tuple[str, str]]) -> list[Opinion]:
    """Two opinions for each answer that comes to a conclusion: as it is, and contradicted.

    An answer is the name of its pair and what was written about it.
    """
    read = [(pair_id, extract_reasoning(text), parse_verdict(text)) for pair_id, text in answers]
    read = [(*known, verdict) for *known, verdict in read if verdict is not Verdict.UNPARSED]
    agrees = ScriptedConsistencyJudge().judge([r for _, r, _ in read], [v for *_, v in read])
    opinions = []
    for (pair_id, reasoning, verdict), known in zip(read, agrees, strict=True):
        if known is not None:
            opinions.append(Opinion(reasoning, verdict, known, pair_id))
            opinions.append(Opinion(reasoning, verdict.swapped(), not known, pair_id))
    return opinions


def sample_answers(
    checkpoint: str | Path, pairs: Sequence[PreferencePair], *, profile: Profile, seed: int
) -> list[tuple[str, str]]:
    """What a policy writes about the pairs at temperature 1: the name of each pair and one answer."""
    sampling = Sampling(profile.engine.max_new_tokens, temperature=1.0, seed=seed)
    answers = judge_samples(
        load_engine(checkpoint, profile), pairs, prompt=profile.model.prompt, sampling=sampling
    )
    return [(pair.pair_id, one.completion.text) for pair, (one,) in zip(pairs, answers, strict=True)]


def make_consistency_judges(
    learned: Sequence[Opinion], held_out: Sequence[Opinion], *, profile: Profile, out: Path, seed: int
) -> dict[str, dict[str, Any]]:
    """Train the strong and the weak judge as `out/<name>/model`; returns their held-out accuracy.

    Where the profile names servers nothing is trained, and the servers' judges are measured. Raises
    ValueError for opinions held out about a pair that is learnt from.
    """
    if both := {one.pair_id for one in learned} & {one.pair_id for one in held_out}:
        raise ValueError(f"{len(both)} pairs, {min(both)} among them, are both learnt from and held out")
    names: tuple[JudgeName, ...] = ("strong", "weak")
    measured = {}
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        if profile.judges.name == "trained":
            train_consistency_judge(
                learned,
                base=profile.model.base,
                out=out / name,
                settings=getattr(profile.judges, name),
                model_settings=profile.model,
                seed=seed,
            )
        judge = make_consistency_judge(profile, name, out, seed=seed, cache=out / name)
        measured[name] = measure_consistency_judge(judge, held_out)
    return measured


def train_consistency_judge(
    opinions: Sequence[Opinion],
    *,
    base: str | Path,
    out: Path,
    settings: JudgeSettings,
    model_settings: ModelSettings,
    seed: int,
) -> Path:
    """Fine-tune a base model on `settings.examples` opinions; returns the folder of the judge."""
    chosen = np.random.default_rng([seed, 4]).permutation(len(opinions))[: settings.examples]
    rows = [
        {
            "text": consistency_prompt(opinion.reasoning, opinion.verdict, name="mini"),
            "completion": "1" if opinion.agrees else "0",
        }
        for opinion in (opinions[index] for index in sorted(chosen.tolist()))
    ]
    write_rows(out / "examples.jsonl", rows)
    return train_sft(
        base,
        out / "examples.jsonl",
        out=out,
        settings=SFTSettings(
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            micro_batch_size=settings.batch_size,
        ),
        model_settings=model_settings,
        seed=seed,
        read=read_text_examples,
    )


def read_text_examples(path: str | Path) -> list[TextExample]:
    """Examples as `train_consistency_judge` writes them."""
    return [TextExample(row["text"], row["completion"]) for row in read_jsonl(path)]


def measure_consistency_judge(judge: ConsistencyJudge, opinions: Sequence[Opinion]) -> dict[str, Any]:
    """Accuracy on opinions with its interval; an unknown is wrong, and counted. None without opinions."""
    if not opinions:
        return {"accuracy": None, "interval": None, "unknown": 0, "n": 0}
    said = judge.judge([o.reasoning for o in opinions], [o.verdict for o in opinions])
    right = sum(answer == o.agrees for answer, o in zip(said, opinions, strict=True))
    return {
        "accuracy": right / len(opinions),
        "interval": list(share_interval(right, len(opinions), method="wilson")),
        "unknown": sum(answer is None for answer in said),
        "n": len(opinions),
    }
