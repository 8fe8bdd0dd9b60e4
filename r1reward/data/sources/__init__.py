"""Loaders of the training sources, each reading the original on-disk schema (paper Table 2)."""

from r1reward.data.sources import mm_rlhf, povid, r1_reward_rl, rlaif_v, vl_feedback, wildvision
from r1reward.data.sources.base import Reader, Source, SourceSpec

_TABLE_2 = (
    *(Source(module.SPEC, module.read) for module in (rlaif_v, vl_feedback, povid, wildvision)),
    *(mm_rlhf.ALL[subset] for subset in mm_rlhf.COUNTS),
)
_OTHERS = (mm_rlhf.ALL["video"], Source(r1_reward_rl.SPEC, r1_reward_rl.read))
# The eight subsets of Table 2 in its order, and what can be loaded beside them.
SOURCES = {source.spec.name: source for source in _TABLE_2}
OTHER_SOURCES = {source.spec.name: source for source in _OTHERS}

__all__ = ["OTHER_SOURCES", "SOURCES", "Reader", "Source", "SourceSpec"]
