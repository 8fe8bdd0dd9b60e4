"""What the RL loop trains for: how an item is asked about, and what answers to it are worth.

`JudgeTask` is the paper's reward model (§3.2): pairs, verdicts, and the three parts of the reward. `Formulas`
are the caller's in place of the paper's (§3.1, §3.2): known by their source and by the values that they name,
so that the record of a run shows both, and a run with another formula is another run.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from r1reward.algo import final_reward
from r1reward.engines import Sampling, load_engine
from r1reward.judge.consistency_judges import ConsistencyJudge, ServerConsistencyJudge
from r1reward.judge.generative import judge_request, judge_samples, read_vote
from r1reward.parsing import follows_format
from r1reward.prompts import PromptName
from r1reward.settings import Profile, RLSettings
from r1reward.train.monitor import judge_metrics
from r1reward.types import Completion, JudgeTrajectory, PreferencePair, Request, Trajectory, Vote

# In a record, in place of a setting that a caller's formula makes idle.
OWN = "own formula"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the reward sees of B sampled answers, as tensors (B,).

    `result` is 1 where the verdict is right, `formatting` where the form is kept, `length` counts tokens.
    `consistency` is 1 where the consistency judge finds that the reasoning supports the verdict. It is asked
    about right answers (all under `external_consistency`) and 0 where it was not asked or did not know.
    """

    result: Tensor
    consistency: Tensor
    formatting: Tensor
    length: Tensor


RewardFormula = Callable[[Answers], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Formulas:
    """A caller's own formulas; where one is None the package's acts, as the settings have it.

    Args:
        reward: from `Answers` to their rewards (B,).
        advantages: from the rewards (N,) of the tokens of a rollout, less any KL penalty, to theirs (N,).
            Under GRPO it is given rewards that are measured within the answers to a prompt.
        ratio: from new and old log-probs (B, T) to the probability ratio (B, T), with its gradient.

    Raises ValueError for a function whose source cannot be read, as nothing would tell its run from others.
    """

    reward: RewardFormula | None = None
    advantages: Callable[[Tensor], Tensor] | None = None
    ratio: Callable[[Tensor, Tensor], Tensor] | None = None
    described: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        # Read now: the process that trains has no notebook in which to look the source up.
        own = {"reward": self.reward, "advantages": self.advantages, "ratio": self.ratio}
        described = {name: _describe(name, function) for name, function in own.items() if function}
        object.__setattr__(self, "described", described)


# The package's formulas.
PAPER = Formulas()


def checked(name: str, values: Tensor, *, like: Tensor) -> Tensor:
    """What a caller's formula returned. Raises ValueError unless it is finite and has the shape of `like`."""
    if not isinstance(values, Tensor) or values.shape != like.shape:
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"the formula {name} must return a tensor of shape {tuple(like.shape)}, got {shape}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"the formula {name} returned values that are not finite")
    return values


def _describe(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"{name}: define it with def, in a file or a notebook's cell ({error})") from error
    named = inspect.getclosurevars(function)
    values = {**named.globals, **named.nonlocals}
    return {"source": source, "values": {key: _value(key, values[key]) for key in sorted(values)}}


def _value(name: str, value: Any) -> Any:
    """A value that a formula names, as JSON: what a caller defined by its source, a library's by its name."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isfunction(value) and value.__module__ == "__main__":
        return _describe(name, value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', name)}"
    return repr(value)


class Task(Protocol):
    """Items are whatever is asked about; `fingerprint` changes with the rewards of the same answers."""

    @property
    def fingerprint(self) -> str: ...

    def used(self) -> dict[str, Any]:
        """What rewards follow from, for the record of a run."""
        ...

    def request(self, item: Any) -> Request:
        """How the policy is asked."""
        ...

    def score(
        self, items: Sequence[Any], completions: Sequence[tuple[Completion, ...]]
    ) -> Sequence[Trajectory]:
        """Rewards of all answers, item by item."""
        ...

    def metrics(self, trajectories: Sequence[Any]) -> dict[str, float]:
        """What a row of metrics has beside what every rollout has."""
        ...


class JudgeTask:
    """A judge learns to name the better response, and to reason accordingly."""

    def __init__(
        self,
        judge: ConsistencyJudge,
        *,
        settings: RLSettings,
        prompt: PromptName,
        reward: RewardFormula | None = None,
    ) -> None:
        self._judge, self._settings, self._reward = judge, settings, reward
        self._prompt: PromptName = prompt

    @property
    def fingerprint(self) -> str:
        """That of the consistency judge."""
        return self._judge.fingerprint

    def used(self) -> dict[str, Any]:
        """The consistency judge, the weight and place of its reward, and what its server was asked."""
        settings, judge = self._settings, self._judge
        asked = {"judge_record": judge.record()} if isinstance(judge, ServerConsistencyJudge) else {}
        return {
            "consistency_judge": self.fingerprint,
            "consistency_weight": OWN if self._reward else settings.consistency_weight,
            "external_consistency": settings.external_consistency,
            "prompt": self._prompt,
            **asked,
        }

    def request(self, item: PreferencePair) -> Request:
        """The judge prompt."""
        return judge_request(item, prompt=self._prompt)

    def score(
        self, items: Sequence[PreferencePair], completions: Sequence[tuple[Completion, ...]]
    ) -> list[JudgeTrajectory]:
        """See `score_votes`."""
        votes = [tuple(read_vote(completion) for completion in samples) for samples in completions]
        return score_votes(items, votes, judge=self._judge, settings=self._settings, reward=self._reward)

    metrics = staticmethod(judge_metrics)


def score_votes(
    pairs: Sequence[PreferencePair],
    votes: Sequence[tuple[Vote, ...]],
    *,
    judge: ConsistencyJudge,
    settings: RLSettings,
    reward: RewardFormula | None = None,
) -> list[JudgeTrajectory]:
    """Rewards of all samples, pair by pair (paper §3.2).

    The consistency judge is asked where the formula needs it: about right answers when consistency is
    gated, about every answer when it is external. `reward` takes the place of the paper's formula; ValueError
    where it does not return a finite reward for each answer.
    """
    flat = [(pair, vote) for pair, samples in zip(pairs, votes, strict=True) for vote in samples]
    right = [vote.verdict.agrees_with(pair.preferred) for pair, vote in flat]
    asked = [index for index in range(len(flat)) if right[index] or settings.external_consistency]
    opinions = judge.judge(
        [flat[index][1].reasoning for index in asked], [flat[index][1].verdict for index in asked]
    )
    consistency: list[float | None] = [0.0] * len(flat)
    paid = list(consistency)
    for index, opinion in zip(asked, opinions, strict=True):
        consistency[index] = None if opinion is None else float(opinion)
        paid[index] = settings.contradicted_reward if consistency[index] == 0 else consistency[index]
    formatting = [float(follows_format(vote.completion.text)) for _, vote in flat]
    answers = Answers(
        result=torch.tensor([float(value) for value in right]),
        consistency=torch.tensor([value or 0.0 for value in paid]),
        formatting=torch.tensor(formatting),
        length=torch.tensor([float(len(vote.completion.token_ids)) for _, vote in flat]),
    )
    if reward is not None:
        rewards = checked("reward", reward(answers), like=answers.result)
    else:
        rewards = final_reward(
            answers.result,
            answers.consistency,
            formatting=answers.formatting,
            weight=settings.consistency_weight,
            external=settings.external_consistency,
        )
    return [
        JudgeTrajectory(
            pair, vote.completion, earned, vote.verdict, float(right[i]), formatting[i], consistency[i]
        )
        for i, ((pair, vote), earned) in enumerate(zip(flat, rewards.tolist(), strict=True))
    ]


def sample_scored(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    judge: ConsistencyJudge,
    seed: int,
    reward: RewardFormula | None = None,
) -> list[JudgeTrajectory]:
    """One sampled answer to every pair, scored as in a rollout of RL (paper §3.2)."""
    sampling = Sampling(profile.engine.max_new_tokens, profile.rl.temperature, 1, seed)
    votes = judge_samples(
        load_engine(checkpoint, profile), pairs, prompt=profile.model.prompt, sampling=sampling
    )
    return score_votes(pairs, votes, judge=judge, settings=profile.rl, reward=reward)
