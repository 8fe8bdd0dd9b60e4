"""Benchmarks, test-time scaling, downstream training and blind rating."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from r1reward.settings.base import Settings
from r1reward.settings.model import EngineName
from r1reward.settings.training import RLSettings, SFTSettings


class BenchSettings(Settings):
    """How reward benchmarks are run."""

    sampled_temperature: float = Field(
        default=1.0, gt=0, description="Temperature of the sampled pass beside the greedy one."
    )
    unparsed: Literal["wrong", "drop", "coin"] = Field(
        default="wrong",
        description="How an answer without a verdict is scored, votes aside: wrong, its pair left out, or a "
        "coin.",
    )
    perception_cases: int = Field(
        default=500, ge=1, description="Questions a skill when the base model's sight is measured."
    )
    steered_pairs: int = Field(
        default=300, ge=1, description="Pairs whose worse response is made to steer the judge."
    )
    hardened_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the cold-start examples that get a text which speaks to the judge, for the "
        "judge that learns to ignore such texts.",
    )
    real_rows: int = Field(
        default=1250, ge=1, description="Rows of the real text file that are judged where it is there."
    )


class ScalingSettings(Settings):
    """Test-time scaling (paper C.5, C.10)."""

    samples: int = Field(
        default=16, ge=3, description="Answers for each pair and order; votes are drawn of them."
    )
    pairs: int = Field(
        default=1500, ge=1, description="About so many pairs of each benchmark, spread over it."
    )


class RatingSettings(Settings):
    """Blind comparison of two judges' reasoning (paper C.7, Table 9)."""

    items: int = Field(default=200, ge=1, description="Pairs that are rated.")
    raters: int = Field(default=3, ge=1, description="Scripted raters, where no people rate.")


class DownstreamSettings(Settings):
    """A policy that learns from R1-Reward's comparisons alone (paper C.9, Table 11)."""

    policy: str = Field(
        default="Qwen/Qwen2.5-VL-3B-Instruct",
        min_length=1,
        description="The model that is trained; 'mini' is made here.",
    )
    root: str = Field(
        default="", description="Folder of prompt sets and benchmarks; empty means the mini world."
    )
    judge_engine: EngineName | None = Field(
        default=None, description="Engine of the judge, if it is not the policy's: 'openai' asks its server."
    )
    harness: str = Field(
        default="", description="Work folder of VLMEvalKit, whose results then count; empty answers here."
    )
    prompts: int = Field(default=50_000, ge=1, description="Prompts drawn from all sets together.")
    right_answers: tuple[int, int] | None = Field(
        default=None,
        description="Only prompts to which so many (from, to) of a group sampled from the start are the "
        "reference's answer; all unless given.",
    )
    max_new_tokens: int = Field(
        default=512, ge=1, description="Most tokens an answer of the policy may have."
    )
    tournament: Literal["all", "random", "swiss"] = Field(
        default="all", description="Which answers to a prompt are compared; the paper compares all."
    )
    rounds: int = Field(default=3, ge=1, description="Rounds of a random or Swiss tournament.")
    tournament_prompts: int = Field(
        default=200, ge=1, description="Prompts on which cheaper tournaments are held against the full one."
    )
    rl: RLSettings = Field(
        default=RLSettings(algorithm="grpo", samples_per_prompt=8, epochs=1), description="Its training."
    )
    layers: tuple[int, ...] = Field(
        default=(0, 1, 3), description="Decoder layers of the shipped model that the mini policy keeps."
    )
    lessons: int = Field(default=6000, ge=1, description="Answered questions the mini policy learns from.")
    sft: SFTSettings = Field(default=SFTSettings(), description="How it learns from them.")
    questions: int = Field(default=120, ge=4, description="Questions of each benchmark of the mini world.")
    draws: int = Field(
        default=4, ge=1, description="Answers sampled to each question of a benchmark, beside the greedy one."
    )

    @field_validator("right_answers")
    @classmethod
    def _a_range_of_counts(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("must be two counts, the smaller one first")
        return value

    @field_validator("layers")
    @classmethod
    def _layers_of_a_model(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 0 or len(set(value)) < len(value):
            raise ValueError("must be different layers, counted from 0")
        return value
