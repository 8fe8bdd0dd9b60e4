"""The reward model as a judge: a pair becomes a prompt, a completion becomes a vote (paper §3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from r1reward.engines import Engine, Sampling
from r1reward.parsing import extract_reasoning, find_answer_token, parse_verdict
from r1reward.prompts import PromptName, judge_prompt
from r1reward.types import Comparison, Completion, PreferencePair, Request, Verdict, Vote


def judge_request(pair: Comparison | PreferencePair, *, prompt: PromptName) -> Request:
    """The request that asks an engine which response of the pair is better."""
    text = judge_prompt(pair, name=prompt)
    return Request(text, pair.images, pair.frames, origin=pair.label)


def read_vote(completion: Completion) -> Vote:
    """Verdict, its probability and reasoning of a completion; text without one is `Verdict.UNPARSED`."""
    verdict = parse_verdict(completion.text)
    place = None if verdict is Verdict.UNPARSED else find_answer_token(completion.tokens)
    probability = None if place is None else math.exp(completion.log_probs[place])
    return Vote(verdict, extract_reasoning(completion.text), completion, probability)


def judge_samples(
    engine: Engine,
    pairs: Sequence[Comparison | PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None = None,
    places: Sequence[int] | None = None,
) -> list[tuple[Vote, ...]]:
    """`sampling.samples` votes of every pair, in the order of `pairs`; see `Request.place` for `places`."""
    requests = [judge_request(pair, prompt=prompt) for pair in pairs]
    if places is not None:
        requests = [replace(one, place=place) for one, place in zip(requests, places, strict=True)]
    outputs = engine.generate(requests, sampling, progress=progress)
    if len(outputs) != len(pairs):
        raise ValueError(f"the engine answered {len(outputs)} of {len(pairs)} requests")
    return [tuple(read_vote(completion) for completion in completions) for completions in outputs]


def judge_pairs(
    engine: Engine,
    pairs: Sequence[Comparison | PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None = None,
    places: Sequence[int] | None = None,
) -> list[Vote]:
    """One vote of every pair, in the order of `pairs`. More than one sample is a ValueError."""
    if sampling.samples != 1:
        raise ValueError(f"judge_pairs takes one sample a pair, not {sampling.samples}; use judge_samples")
    judged = judge_samples(engine, pairs, prompt=prompt, sampling=sampling, progress=progress, places=places)
    return [vote for (vote,) in judged]
