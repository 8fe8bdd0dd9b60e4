"""The reward model as a judge: a pair becomes a prompt, a completion becomes a judgment (paper §3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r1reward.engines.base import Engine, Sampling
from r1reward.parsing import extract_reasoning, parse_verdict
from r1reward.prompts import PromptName, judge_prompt
from r1reward.types import Completion, Judgment, PreferencePair, Request


def judge_request(pair: PreferencePair, *, prompt: PromptName) -> Request:
    """The request that asks an engine which response of the pair is better."""
    text = judge_prompt(pair, name=prompt)
    return Request(text, pair.images, pair.frames, origin=pair.origin or pair.pair_id)


def read_judgment(completion: Completion) -> Judgment:
    """Verdict and reasoning of a completion; text without a verdict is `Verdict.UNPARSED`."""
    return Judgment(parse_verdict(completion.text), extract_reasoning(completion.text), completion)


def judge_samples(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Judgment, ...]]:
    """`sampling.samples` judgments of every pair, in the order of `pairs`."""
    requests = [judge_request(pair, prompt=prompt) for pair in pairs]
    outputs = engine.generate(requests, sampling, progress=progress)
    if len(outputs) != len(pairs):
        raise ValueError(f"the engine answered {len(outputs)} of {len(pairs)} requests")
    return [tuple(read_judgment(completion) for completion in completions) for completions in outputs]


def judge_pairs(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgment]:
    """One judgment of every pair, in the order of `pairs`. More than one sample is a ValueError."""
    if sampling.samples != 1:
        raise ValueError(f"judge_pairs takes one sample a pair, not {sampling.samples}; use judge_samples")
    judged = judge_samples(engine, pairs, prompt=prompt, sampling=sampling, progress=progress)
    return [judgment for (judgment,) in judged]
