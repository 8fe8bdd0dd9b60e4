"""What a run starts from: the mini world, the training data, the model and its engine."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from r1reward.settings.base import (
    Address,
    ConnectionSettings,
    KeyVariable,
    ModelName,
    ServerSettings,
    Settings,
)


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


EngineName = Literal["transformers", "vllm", "openai"]


class LoraSettings(Settings):
    """Training of low-rank adapters in place of all weights (extra lora)."""

    rank: int = Field(default=0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(default=32, ge=1, description="The adapters' share is alpha / rank.")


class ModelSettings(Settings):
    """Which model is trained and how it sees pictures."""

    base: str = Field(
        default="mini",
        min_length=1,
        description="Checkpoint folder or hub id; 'mini' is the shipped tiny Qwen2.5-VL.",
    )
    prompt: Literal["mini", "paper", "reworded", "mini_fenced", "paper_fenced"] = Field(
        default="mini",
        description="Judge prompt: the short one, the paper's Table 1, other words for the short one, or one "
        "of the first two with marks around the responses that no response can forge.",
    )
    min_pixels: int = Field(default=28 * 28, ge=28 * 28, description="Smallest picture area after resizing.")
    max_pixels: int = Field(
        default=640 * 28 * 28, ge=28 * 28, description="Largest picture area after resizing."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Floating point type of the weights."
    )
    lora: LoraSettings = Field(default=LoraSettings(), description="Adapters that are trained, for one card.")

    @model_validator(mode="after")
    def _some_area_is_allowed(self) -> Self:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels = {self.min_pixels} is above max_pixels = {self.max_pixels}")
        return self


class EngineServerSettings(ConnectionSettings):
    """The server of the engine 'openai'; temperature and seeds come with each request."""

    model: str = Field(
        default="", description="Name of the model; empty is the checkpoint's, another is refused."
    )


class VLLMSettings(Settings):
    """Generation with vLLM in this process."""

    memory: float = Field(default=0.9, gt=0, le=1, description="Share of the GPU's memory it takes.")
    eager: bool = Field(default=False, description="No compiled graphs: a quicker start, slower answers.")
    pictures: int = Field(default=8, ge=1, description="Most pictures of a prompt, video frames aside.")


class EngineSettings(Settings):
    """How completions are generated."""

    name: EngineName = Field(
        default="transformers",
        description="In this process, vLLM in this process (extra vllm), or a server (extra api).",
    )
    batch_size: int = Field(default=256, ge=1, description="Largest number of sequences generated at once.")
    max_prompt_tokens: int = Field(
        default=1024, ge=16, description="A longer prompt is refused with a clear error."
    )
    max_new_tokens: int = Field(default=64, ge=1, description="Most tokens an answer may have.")
    vllm: VLLMSettings = Field(default=VLLMSettings(), description="For the engine 'vllm'.")
    openai: EngineServerSettings = Field(
        default=EngineServerSettings(), description="The server of the engine 'openai'."
    )
