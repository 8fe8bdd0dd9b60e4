"""A cell that a reader can turn: sliders in JupyterLab, one picture where nobody looks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from r1reward.pipeline.notebook import RUNNER_VARIABLE


def turn(show: Callable[..., Any], **knobs: Any) -> None:
    """Call `show` with the value of each widget, again whenever one is moved; once in a run of the chain."""
    if RUNNER_VARIABLE in os.environ:
        show(**{name: knob.value for name, knob in knobs.items()})
        return
    from ipywidgets import interact

    interact(show, **knobs)
