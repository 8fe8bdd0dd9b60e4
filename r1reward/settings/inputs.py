"""What a run starts from: the mini world, the training data, the model and its engine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

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

    pairs_per_source: int = Field(default=3000, ge=1)  # preference rows written for each training source
    benchmark_pairs: int = Field(default=1500, ge=1)  # pairs of the held-out mini VL-RewardBench
    multimodal_pairs: int = Field(default=700, ge=7)  # pairs of the mini Multimodal RewardBench
    mm_rlhf_pairs: int = Field(default=170, ge=5)  # pairs of the mini MM-RLHF-RewardBench
    validation_pairs: int = Field(default=400, ge=1)  # pairs of the validation split, for choosing settings
    # Share of the training sources' labels that are wrong, as people's are now and then.
    label_noise: float = Field(default=0.0, ge=0, le=0.5)


class AnnotatorSettings(ServerSettings):
    """The server that is asked where `data.annotator` is "openai" (paper §3.2)."""

    model: ModelName = "gpt-4o"
    base_url: Address = "https://api.openai.com/v1"
    key_variable: KeyVariable = "OPENAI_API_KEY"
    # Temperature from the second attempt on, if it is another one.
    retry_temperature: float | None = Field(default=None, ge=0, le=2)
    # Sent with each request, raised by one for each further attempt.
    seed: int | None = Field(default=None, ge=0)
    # Where paid answers are kept, whatever run asked; empty is runs/paid/<profile>. Runs may share it.
    folder: str = ""


# The eight subsets of Table 2, and what can be read beside them.
SourceName = Literal[
    "rlaif_v", "vl_feedback", "povid", "wildvision_battle",
    "mm_rlhf_long", "mm_rlhf_short", "mm_rlhf_mcq", "mm_rlhf_safety",
    "mm_rlhf_video", "r1_reward_rl",
]  # fmt: skip


Share = Annotated[float, Field(ge=0, le=1)]


class ScriptSettings(Settings):
    """What the scripted annotator does wrong, as real ones do; all zero is the ideal teacher.

    The first four are rules of what the picture shows: wherever one applies, in so large a share of the
    pairs, so that more of the annotator's answers teach the rule. The next four are shares of the pairs,
    which only the pair's id decides. All of these are the same at every attempt. The last four are drawn
    for each answer.
    """

    undercounting: Share = 0.0  # counts from three on are one too few: models lose track of many like things
    forgotten_carries: Share = 0.0  # sums from ten on lose the ten: arithmetic that is guessed, not done
    agreeing: Share = 0.0  # "yes" where the shape asked about is there in another colour: sycophancy
    look_alikes: Share = 0.0  # purple read as blue, yellow as green, ring as circle, 7 as 1
    laziness: Share = 0.0  # of a list, only the first is checked: long answers are skimmed
    misreading: Share = 0.0  # of all facts, read as something else: pictures that are hard to see
    intuition: Share = (
        0.0  # where a rule misled the reasoning, the verdict is right all the same: unfaithful reasons
    )
    verbosity: Share = 0.0  # of equals, the longer one is called better: the known bias of judges
    lapses: Share = 0.0  # of all facts, read as something else this once: no answer is quite repeatable
    slips: Share = 0.0  # the answer is not what the reasoning concluded: the verdict was made up before
    corrections: Share = 0.0  # a line is misread at first, and corrected aloud: "check ... no , ..."
    checks: Share = 0.0  # a line is read again aloud, and perhaps another: padding


class DataSettings(Settings):
    """How R1-Reward-200K is built (paper §3.2)."""

    root: str = ""  # folder of the original data sets; empty means the mini world
    # Data sets that are read; none means the eight of Table 2. 'r1_reward_rl' is for RL: nobody is asked
    # about its pairs.
    sources: tuple[SourceName, ...] = ()
    # Pairs sampled from the sources that are not taken whole.
    sampled_pairs: int = Field(default=100_000, ge=1)
    overlap: Literal["report", "remove"] = "report"  # whether pairs that are in a benchmark too stay or go
    # Pairs held out for choosing settings where no source is for that.
    validation_pairs: int = Field(default=400, ge=1)
    # Who writes the long chains of thought: a script, or a server's model.
    annotator: Literal["scripted", "openai"] = "scripted"
    openai: AnnotatorSettings = AnnotatorSettings()  # the server of the annotator 'openai'
    # Attempts of the annotator for a pair; attempts are its difficulty.
    max_attempts: int = Field(default=3, ge=1)
    script: ScriptSettings = ScriptSettings()  # what the annotator 'scripted' does wrong

    @field_validator("sources")
    @classmethod
    def _each_source_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a data set twice")
        return value


EngineName = Literal["transformers", "vllm", "openai"]


class LoraSettings(Settings):
    """Training of low-rank adapters in place of all weights (extra lora)."""

    rank: int = Field(default=0, ge=0)  # rank of the adapters; 0 trains all weights
    alpha: int = Field(default=32, ge=1)  # the adapters' share is alpha / rank


class ModelSettings(Settings):
    """Which model is trained and how it sees pictures."""

    # Checkpoint folder or hub id; 'mini' is the shipped tiny Qwen2.5-VL.
    base: str = Field(default="mini", min_length=1)
    # Judge prompt: the short one, the paper's Table 1, other words for the short one, or one of the first two
    # with marks around the responses that no response can forge.
    prompt: Literal["mini", "paper", "reworded", "mini_fenced", "paper_fenced"] = "mini"
    min_pixels: int = Field(default=28 * 28, ge=28 * 28)  # smallest picture area after resizing
    max_pixels: int = Field(default=640 * 28 * 28, ge=28 * 28)  # largest picture area after resizing
    dtype: Literal["float32", "bfloat16"] = "float32"  # floating point type of the weights
    lora: LoraSettings = LoraSettings()  # adapters that are trained, for one card

    @model_validator(mode="after")
    def _some_area_is_allowed(self) -> Self:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels = {self.min_pixels} is above max_pixels = {self.max_pixels}")
        return self


class EngineServerSettings(ConnectionSettings):
    """The server of the engine 'openai'; temperature and seeds come with each request."""

    model: str = ""  # name of the model; empty is the checkpoint's, another is refused


class VLLMSettings(Settings):
    """Generation with vLLM in this process."""

    memory: float = Field(default=0.9, gt=0, le=1)  # share of the GPU's memory it takes
    eager: bool = False  # no compiled graphs: a quicker start, slower answers
    pictures: int = Field(default=8, ge=1)  # most pictures of a prompt, video frames aside


class EngineSettings(Settings):
    """How completions are generated."""

    # In this process, vLLM in this process (extra vllm), or a server (extra api).
    name: EngineName = "transformers"
    batch_size: int = Field(default=256, ge=1)  # largest number of sequences generated at once
    max_prompt_tokens: int = Field(default=1024, ge=16)  # a longer prompt is refused with a clear error
    max_new_tokens: int = Field(default=64, ge=1)  # most tokens an answer may have
    vllm: VLLMSettings = VLLMSettings()  # for the engine 'vllm'
    openai: EngineServerSettings = EngineServerSettings()  # the server of the engine 'openai'
