"""Loaders of the training sources, each reading the original on-disk schema (paper Table 2)."""

from r1reward.data.sources import povid, rlaif_v, vl_feedback
from r1reward.data.sources.base import Reader, Source, SourceSpec

SOURCES = {module.SPEC.name: Source(module.SPEC, module.read) for module in (rlaif_v, vl_feedback, povid)}

__all__ = ["SOURCES", "Reader", "Source", "SourceSpec"]
