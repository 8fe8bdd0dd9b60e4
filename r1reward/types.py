"""Plain data passed between the stages. Frozen, typed, without torch.

Every stage takes and returns these: loaders make `PreferencePair`s, engines make `Completion`s, the
parser makes `Verdict`s, the reward model makes `Vote`s and `Judgment`s and the RL loop `Trajectory`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

Position = Literal[1, 2]


class Verdict(StrEnum):
    """What a judge said. Text without a usable answer is a value that is counted, not an exception."""

    FIRST = "1"
    SECOND = "2"
    UNPARSED = "unparsed"

    def agrees_with(self, preferred: Position) -> bool:
        """Whether the verdict names the preferred response; UNPARSED never does."""
        return self.value == str(preferred)

    def swapped(self) -> Verdict:
        """The same opinion where the two responses are exchanged."""
        return {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}.get(self, self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question about pictures with two responses; which is better is not known.

    `images` are pictures (paths or `data:` URIs), `frames` those of a video in order of time; `label` names
    it in messages.
    """

    question: str
    responses: tuple[str, str]
    images: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    label: str = ""

    def swapped(self) -> Comparison:
        """The same comparison with Response 1 and Response 2 exchanged."""
        return replace(self, responses=self.responses[::-1])


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One question about pictures with two responses, one of which is preferred (paper §3.2).

    `images` are paths of pictures; `frames` are paths of video frames in order of time. `category`
    is a benchmark's group or a task name. `origin` names file and row, for error messages.
    """

    pair_id: str
    source: str
    question: str
    responses: tuple[str, str]
    preferred: Position
    images: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    category: str = ""
    origin: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """File and row, or the id."""
        return self.origin or self.pair_id

    def swapped(self) -> PreferencePair:
        """The same pair with Response 1 and Response 2 exchanged."""
        first, second = self.responses
        return replace(self, responses=(second, first), preferred=2 if self.preferred == 1 else 1)


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt for an engine: user text, pictures and video frames, and a name for errors.

    Pictures are paths or `data:` URIs. `place` is what the random numbers of its answers follow from, besides
    the seed: its index in the call unless given.
    """

    text: str
    images: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    origin: str = ""
    place: int | None = None

    def place_or(self, index: int) -> int:
        """`place`, or the request's index in the call."""
        return index if self.place is None else self.place


@dataclass(frozen=True, slots=True)
class Completion:
    """One generated answer. `log_probs` are of the sampled tokens at the sampling temperature.

    `tokens` spells them out, as the vocabulary or the server writes them.
    """

    text: str
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer of a judge: the verdict, the reasoning before it and the raw completion.

    `probability` is that of the answer's digit when it was drawn, None if it is not known. With `swapped`
    the responses were shown exchanged: text and reasoning speak of that order, the verdict never does.
    """

    verdict: Verdict
    reasoning: str
    completion: Completion
    probability: float | None = None
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Judgment:
    """What one or more votes about a pair come to.

    `confidence` in the verdict is between 0 and 1; `reasoning` is that of a vote which agrees with it, and
    `swapped` says that this vote saw the responses exchanged, so that its "response 1" is the second.
    """

    verdict: Verdict
    confidence: float
    reasoning: str
    votes: tuple[Vote, ...]
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One scored rollout of the RL loop: what was asked about, what was sampled, and its reward."""

    item: Any
    completion: Completion
    reward: float


@dataclass(frozen=True, slots=True)
class JudgeTrajectory(Trajectory):
    """A rollout of a judge; the item is the pair, and the reward has parts."""

    verdict: Verdict
    result: float
    formatting: float
    consistency: float | None
