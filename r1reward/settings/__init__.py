"""Every setting of a run, typed and bounded; a profile (`r1reward.config`) gives them values."""

# ruff: noqa: F401  (what is imported is offered here)

from __future__ import annotations

from pydantic import Field

from r1reward.settings.base import (
    HOW_ASKED,
    Address,
    ConnectionSettings,
    KeyVariable,
    ModelName,
    ServerParameter,
    ServerSettings,
    Settings,
    UndeclaredSettingError,
    setting_names,
)
from r1reward.settings.inputs import (
    AnnotatorSettings,
    DataSettings,
    EngineName,
    EngineServerSettings,
    EngineSettings,
    LoraSettings,
    ModelSettings,
    ScriptSettings,
    VLLMSettings,
    WorldSettings,
)
from r1reward.settings.stages import (
    Algorithm,
    AnnotatorStudySettings,
    BenchSettings,
    ClusterSettings,
    DownstreamSettings,
    JudgeServerSettings,
    JudgeSettings,
    JudgesSettings,
    RatingSettings,
    RewardModelSettings,
    RLSettings,
    ScalingSettings,
    SFTSettings,
    StressSettings,
    WeakAnnotatorSettings,
    WeakJudgeServerSettings,
)


class Profile(Settings):
    """All settings of a run."""

    # Name of the profile, a file name; results and figures are filed under it.
    name: str = Field(pattern=r"^\w[\w.-]*(\+\w[\w.-]*)*$", max_length=80)
    sentence: str = Field()  # what this profile is for
    seeds: int = Field(default=1, ge=1, le=1000)  # independent repetitions of every training run
    # Runs side by side, each with one thread; 0 is one a core, 1 none.
    processes: int = Field(default=1, ge=0)
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    world: WorldSettings = WorldSettings()
    data: DataSettings = DataSettings()
    sft: SFTSettings = SFTSettings()
    annotators: AnnotatorStudySettings = AnnotatorStudySettings()
    reward_model: RewardModelSettings = RewardModelSettings()
    rl: RLSettings = RLSettings()
    judges: JudgesSettings = JudgesSettings()
    stress: StressSettings = StressSettings()
    bench: BenchSettings = BenchSettings()
    scaling: ScalingSettings = ScalingSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    rating: RatingSettings = RatingSettings()
    cluster: ClusterSettings = ClusterSettings()
