"""A reward model with a head on a pairwise benchmark, in the records that generative judges leave.

Each response is scored alone and once, so both orders of a pair are the same judgment by construction:
order consistency is 1 and there is no bias of position (ties apart). The higher score wins; equal
scores are no verdict ("u"). `tokens` of a record counts the critiques of both responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from r1reward.bench.runner import ORDERS, run_judge
from r1reward.engines import Sampling, ask_each, identify
from r1reward.judge.scalar_model import ResponseScore, load_reward_model, score_request, score_responses
from r1reward.progress import Progress
from r1reward.prompts import PromptName, score_template
from r1reward.scoring import MARKS, Scores
from r1reward.settings import Profile
from r1reward.types import PreferencePair, Verdict

ScoreMode = Literal["greedy", "blank_greedy"]
SCORE_MODES: tuple[ScoreMode, ...] = ("greedy", "blank_greedy")


def evaluate_reward_model(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    work: Path,
    record: Path,
    modes: Sequence[ScoreMode] = SCORE_MODES,
    label: str = "scoring",
) -> dict[ScoreMode, Scores]:
    """Score all pairs, once a mode; records go to `<record>/<mode>.jsonl`, scores and critiques to `work`.

    `blank_greedy` shows grey pictures. What a killed run has scored is not scored again while the
    weights are the same.
    """
    model, processor = load_reward_model(checkpoint, settings=profile.model)
    score = partial(
        score_responses,
        model,
        processor,
        batch_size=profile.engine.batch_size,
        max_prompt_tokens=profile.engine.max_prompt_tokens,
        max_new_tokens=profile.engine.max_new_tokens,
    )
    scores: dict[ScoreMode, Scores] = {}
    for mode in modes:
        outcome = run_judge(
            partial(_score_chunk, score, prompt=profile.model.prompt),
            pairs,
            key={"prompt": score_template(profile.model.prompt), "model": identify(checkpoint, profile)},
            sampling=Sampling(profile.engine.max_new_tokens, temperature=0.0),
            work=work / mode,
            record=record / f"{mode}.jsonl",
            blank=mode == "blank_greedy",
            unparsed=profile.bench.unparsed,
            progress=Progress(f"{label}, {mode}"),
        )
        scores[mode] = outcome.scores()
    return scores


def verdict_of(first: float, second: float) -> Verdict:
    """The response with the higher score; equal scores, or one that is not a number, are UNPARSED."""
    if first > second:
        return Verdict.FIRST
    return Verdict.SECOND if second > first else Verdict.UNPARSED


def _score_chunk(
    score: Callable[..., list[ResponseScore]],
    pairs: Sequence[PreferencePair],
    rows: Sequence[int],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    requests = [score_request(pair, position, prompt=prompt) for pair in pairs for position in (1, 2)]
    scored = ask_each(score, requests, progress=progress)
    lines = []
    for row, first, second in zip(rows, scored[::2], scored[1::2], strict=True):
        errors = [one for one in (first, second) if isinstance(one, str)]
        if isinstance(first, str) or isinstance(second, str):
            nothing = {"row": row, "verdict": MARKS[Verdict.UNPARSED], "tokens": 0, "error": errors[0]}
            lines += [{**nothing, "order": order} for order in ORDERS]
            continue
        for order, shown in zip(ORDERS, ((first, second), (second, first)), strict=True):
            lines.append(
                {
                    "row": row,
                    "order": order,
                    "verdict": MARKS[verdict_of(shown[0].score, shown[1].score)],
                    "tokens": first.tokens + second.tokens,
                    "scores": [response.score for response in shown],
                    "critiques": [response.critique for response in shown],
                }
            )
    return lines
