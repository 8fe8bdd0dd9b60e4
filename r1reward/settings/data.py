"""The mini world and the training data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from r1reward.settings.base import Address, KeyVariable, ModelName, ServerSettings, Settings


class WorldSettings(Settings):
    """How much of the mini world is written when the real files are absent."""

    pairs_per_source: int = Field(
        default=3000, ge=1, description="Preference rows written for each training source."
    )
    benchmark_pairs: int = Field(default=1500, ge=1, description="Pairs of the held-out mini VL-RewardBench.")
    multimodal_pairs: int = Field(default=700, ge=7, description="Pairs of the mini Multimodal RewardBench.")
    mm_rlhf_pairs: int = Field(default=170, ge=5, description="Pairs of the mini MM-RLHF-RewardBench.")
    validation_pairs: int = Field(
        default=400, ge=1, description="Pairs of the validation split, for choosing settings."
    )


class AnnotatorSettings(ServerSettings):
    """The server that is asked where `data.annotator` is "openai" (paper §3.2)."""

    model: ModelName = "gpt-4o"
    base_url: Address = "https://api.openai.com/v1"
    key_variable: KeyVariable = "OPENAI_API_KEY"
    retry_temperature: float | None = Field(
        default=None, ge=0, le=2, description="Temperature from the second attempt on, if it is another one."
    )
    seed: int | None = Field(
        default=None, ge=0, description="Sent with each request, raised by one for each further attempt."
    )
    folder: str = Field(
        default="",
        description="Where paid answers are kept, whatever run asked; empty is runs/paid/<profile>. "
        "Runs may share it.",
    )


# The eight subsets of Table 2, and what can be read beside them.
SourceName = Literal[
    "rlaif_v", "vl_feedback", "povid", "wildvision_battle",
    "mm_rlhf_long", "mm_rlhf_short", "mm_rlhf_mcq", "mm_rlhf_safety",
    "mm_rlhf_video", "r1_reward_rl",
]  # fmt: skip


class DataSettings(Settings):
    """How R1-Reward-200K is built (paper §3.2)."""

    root: str = Field(default="", description="Folder of the original data sets; empty means the mini world.")
    sources: tuple[SourceName, ...] = Field(
        default=(),
        description="Data sets that are read; none means the eight of Table 2. 'r1_reward_rl' is for RL: "
        "nobody is asked about its pairs.",
    )
    sampled_pairs: int = Field(
        default=100_000, ge=1, description="Pairs sampled from the sources that are not taken whole."
    )
    overlap: Literal["report", "remove"] = Field(
        default="report", description="Whether pairs that are in a benchmark too stay or go."
    )
    validation_pairs: int = Field(
        default=400, ge=1, description="Pairs held out for choosing settings where no source is for that."
    )
    annotator: Literal["scripted", "openai"] = Field(
        default="scripted",
        description="Who writes the long chains of thought: a script, or a server's model.",
    )
    openai: AnnotatorSettings = Field(
        default=AnnotatorSettings(), description="The server of the annotator 'openai'."
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Attempts of the annotator for a pair; attempts are its difficulty."
    )
    annotator_noise: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Misreading rate of the scripted annotator per unit of difficulty.",
    )

    @field_validator("sources")
    @classmethod
    def _each_source_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a data set twice")
        return value
