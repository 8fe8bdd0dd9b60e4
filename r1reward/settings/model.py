"""The model, and how its completions are made."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from r1reward.settings.base import ConnectionSettings, Settings

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
