"""R1-Reward, a generative reward model: a pair becomes a prompt, its answers votes, the votes a judgment.

Paper §3.2; majority voting is C.5 and C.10. With any checkpoint and engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any, Self

from PIL import Image

from r1reward.config import load_profile
from r1reward.engines import Engine, Sampling, identify, load_engine
from r1reward.parsing import extract_reasoning, find_answer_token, parse_verdict
from r1reward.pictures import reference
from r1reward.prompts import PromptName, judge_prompt
from r1reward.settings import EngineName, Profile
from r1reward.types import Comparison, Completion, Judgment, PreferencePair, Request, Verdict, Vote


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


def decide(votes: Sequence[Vote], *, weighted: bool = False) -> Judgment:
    """The verdict with most votes, or with `weighted` the one whose votes have most probability.

    Probability breaks a tie of numbers. The verdict is UNPARSED where no vote has one, or where nothing
    tells the two apart. An unknown probability counts as 1. The confidence is the mean over the votes of
    the probability they give to the verdict: its own, one less that of the other, 0 without a verdict. The
    reasoning is that of the most probable vote for the verdict, one that saw the given order if there is any.
    """
    numbers, weights = ({Verdict.FIRST: 0.0, Verdict.SECOND: 0.0} for _ in range(2))
    for vote in votes:
        if vote.verdict is not Verdict.UNPARSED:
            numbers[vote.verdict] += 1
            weights[vote.verdict] += _probability(vote)
    keys = {verdict: (0.0 if weighted else numbers[verdict], weights[verdict]) for verdict in numbers}
    winner, loser = sorted(keys, key=keys.__getitem__, reverse=True)
    if keys[winner] == keys[loser]:
        return Judgment(Verdict.UNPARSED, 0.0, votes[0].reasoning if votes else "", tuple(votes))
    support = sum(
        _probability(vote) if vote.verdict is winner else 1 - _probability(vote)
        for vote in votes
        if vote.verdict is not Verdict.UNPARSED
    )
    named = [vote for vote in votes if vote.verdict is winner]
    # A vote that saw the responses exchanged calls the winner by the other number.
    best = max(named, key=lambda vote: (not vote.swapped, _probability(vote)))
    return Judgment(winner, support / len(votes), best.reasoning, tuple(votes), best.swapped)


def _probability(vote: Vote) -> float:
    return 1.0 if vote.probability is None else vote.probability


Picture = str | PathLike[str] | bytes | Image.Image
Pictures = Picture | Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Responses from best to worst, as indices; `scores` (by index) are mean shares of won comparisons.

    `judgments` are by the pair of indices that was compared, the smaller one as Response 1.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...]
    judgments: dict[tuple[int, int], Judgment]

    @property
    def best(self) -> int:
        """Index of the best response."""
        return self.order[0]


class R1Reward:
    """A judge of responses to questions about pictures.

    Args:
        engine: answers the prompts.
        prompt: how the judge is asked; a checkpoint needs the prompt it was trained with.
        max_new_tokens: a longer answer is cut, and has no verdict.
        temperature: of the votes; a single vote is greedy.
        seed: for the votes.
        name: says who judges by which engine, so that answers of another are not taken for its own.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        prompt: PromptName = "paper",
        max_new_tokens: int = 1024,
        temperature: float = 1.0,
        seed: int = 0,
        name: str = "",
    ) -> None:
        self.engine, self.name = engine, name
        self.prompt: PromptName = prompt
        self.max_new_tokens, self.temperature, self.seed = max_new_tokens, temperature, seed

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        engine: EngineName | None = None,
        profile: str | Profile = "paper",
        overrides: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """A judge from a checkpoint folder, a hub id, or the name a server knows the model by.

        Args:
            engine: the profile's unless given; "openai" asks the server of `engine.openai`.
            profile: prompt, sizes and engine: "paper" for R1-Reward, "mini" for the tiny model.
            overrides: laid over the profile, such as
                `{"engine": {"openai": {"base_url": "http://localhost:8000/v1"}}}`.
        """
        if isinstance(profile, str):
            profile = load_profile(profile, overrides=overrides)
        elif overrides:
            raise ValueError("overrides are laid over a profile that is named, not over a loaded one")
        if engine:
            settings = profile.engine.model_copy(update={"name": engine})
            profile = profile.model_copy(update={"engine": settings})
        return cls(
            load_engine(path, profile),
            prompt=profile.model.prompt,
            max_new_tokens=profile.engine.max_new_tokens,
            temperature=profile.bench.sampled_temperature,
            seed=seed,
            name=identify(path, profile),
        )

    def compare(
        self,
        question: str,
        images: Pictures,
        response_1: str,
        response_2: str,
        *,
        frames: Pictures = (),
        votes: int = 1,
        both_orders: bool = False,
    ) -> Judgment:
        """Which of two responses is better.

        Args:
            images: the pictures: paths, bytes, `data:` URIs or PIL images.
            frames: a video's frames in order of time, given like pictures.
            votes: answers of which the majority decides; one is greedy.
            both_orders: ask `votes` times in the given order and as often with the responses exchanged.
        """
        pictures = (_references(images), _references(frames))
        item = Comparison(question, (response_1, response_2), *pictures, label="the pair")
        return self.compare_all([item], votes=votes, both_orders=both_orders)[0]

    def compare_all(
        self,
        comparisons: Sequence[Comparison],
        *,
        votes: int = 1,
        both_orders: bool = False,
        places: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgment]:
        """`compare` for many at once, in their order.

        Votes are drawn by the judge's seed and a comparison's number among `places`, which is its index
        unless they are given. `progress(done, total)` counts votes.
        """
        if votes < 1:
            raise ValueError(f"votes is {votes}; at least one is needed")
        asked, numbers = list(comparisons), list(range(len(comparisons)) if places is None else places)
        if both_orders:
            asked = [item for given in comparisons for item in (given, given.swapped())]
            numbers = [2 * number + exchanged for number in numbers for exchanged in (0, 1)]
        temperature = self.temperature if votes > 1 else 0.0
        sampling = Sampling(self.max_new_tokens, temperature, votes, self.seed)
        answers = judge_samples(
            self.engine, asked, prompt=self.prompt, sampling=sampling, progress=progress, places=numbers
        )
        if not both_orders:
            return [decide(group) for group in answers]
        return [
            decide([*given, *map(_turn_back, swapped)])
            for given, swapped in zip(answers[::2], answers[1::2], strict=True)
        ]

    def rank(
        self,
        question: str,
        images: Pictures,
        responses: Sequence[str],
        *,
        frames: Pictures = (),
        votes: int = 1,
        both_orders: bool = True,
    ) -> Ranking:
        """Order several responses, best first: every two are compared (best-of-N)."""
        item = Comparison(question, ("", ""), _references(images), _references(frames), "the responses")
        return self.rank_all([(item, responses)], votes=votes, both_orders=both_orders)[0]

    def rank_all(
        self,
        questions: Sequence[tuple[Comparison, Sequence[str]]],
        *,
        votes: int = 1,
        both_orders: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Ranking]:
        """`rank` for many questions at once; each comes with its responses, whatever the comparison holds.

        Equal texts are not compared, they share the win. Fewer than two responses are a ValueError.
        """
        places: list[tuple[int, int, int]] = []
        for index, (item, responses) in enumerate(questions):
            if len(responses) < 2:
                raise ValueError(f"{item.label} has {len(responses)} responses; two are needed to rank")
            two = combinations(range(len(responses)), 2)
            places += [(index, i, j) for i, j in two if responses[i] != responses[j]]
        pairs = [
            replace(questions[index][0], responses=(questions[index][1][i], questions[index][1][j]))
            for index, i, j in places
        ]
        judged = self.compare_all(pairs, votes=votes, both_orders=both_orders, progress=progress)
        found: list[dict[tuple[int, int], Judgment]] = [{} for _ in questions]
        for (index, i, j), judgment in zip(places, judged, strict=True):
            found[index][i, j] = judgment
        return [_ranking(len(responses), one) for (_, responses), one in zip(questions, found, strict=True)]


def _ranking(count: int, judgments: dict[tuple[int, int], Judgment]) -> Ranking:
    """Round robin: wins decide, then confidence, then the order given."""
    wins = [[0.5] * count for _ in range(count)]
    sure = [(count - 1) / 2] * count
    for (i, j), judgment in judgments.items():
        won = {Verdict.FIRST: 1.0, Verdict.SECOND: 0.0, Verdict.UNPARSED: 0.5}[judgment.verdict]
        wins[i][j], wins[j][i] = won, 1 - won
        certainty = {1.0: judgment.confidence, 0.0: 1 - judgment.confidence, 0.5: 0.5}
        sure[i] += certainty[won] - 0.5
        sure[j] += certainty[1 - won] - 0.5
    scores = tuple((sum(row) - 0.5) / (count - 1) for row in wins)
    order = sorted(range(count), key=lambda index: (-scores[index], -sure[index], index))
    return Ranking(tuple(order), scores, judgments)


def _turn_back(vote: Vote) -> Vote:
    return replace(vote, verdict=vote.verdict.swapped(), swapped=True)


def _references(pictures: Pictures) -> tuple[str, ...]:
    if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes):
        return tuple(map(reference, pictures))
    return (reference(pictures),)
