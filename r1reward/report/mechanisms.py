"""What Pre-CLIP and the advantage filter do, each alone (paper §2.1, §3.1). No model stands behind it."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1reward.report.records import Records
from r1reward.report.style import COLOURS, LINES, add_note, new_figure, say_not_run, set_log_scale, styled

# With a part on it is StableReinforce, without it Reinforce++.
_VARIANTS = {"without": "reinforce_pp", "with": "stable_reinforce"}
# Gradients reach from 0 to exp(10), so beyond this the scale is logarithmic.
_LINEAR_UP_TO = 1.0


def figure_mechanisms(records: Records) -> Figure:
    """A token's gradient over its log-ratio by sign of the advantage, and what few wrong answers weigh."""
    record = records.mechanisms()
    with styled():
        figure = new_figure(11.5, 6.2)
        panels = figure.subplots(2, 2)
        if record is None:
            for axes in panels.flat:
                say_not_run(axes)
            return figure
        _draw_gradient(panels[0, 0], record, "negative", "(a) One token, advantage -1")
        _draw_gradient(panels[0, 1], record, "positive", "(b) One token, advantage +1")
        _draw_wrong(panels[1, 0], record, "wrong_advantages", "(c) Advantage of a wrong answer")
        _draw_wrong(panels[1, 1], record, "wrong_shares", "(d) Wrong answers in the gradient")
        add_note(figure, _note(record))
        return figure


def _draw_gradient(axes: Axes, record: dict[str, Any], sign: str, title: str) -> None:
    axes.set_title(title)
    bound = math.log(record["pre_clip"])
    for x in (-bound, bound):
        axes.axvline(x, color=COLOURS["quiet"], lw=0.8, linestyle=":")
    for name, variant in _VARIANTS.items():
        curve = record["gradients"][sign][name]
        axes.plot(record["log_ratios"], curve, **_look(variant), label=f"{name} Pre-CLIP")
    if sign == "negative":
        set_log_scale(axes, linear_up_to=_LINEAR_UP_TO)
    axes.set_xlabel("log-ratio of new and old policy (nats)")
    axes.set_ylabel("gradient by the log-prob")
    axes.legend(loc="upper left" if sign == "negative" else "lower right")


def _draw_wrong(axes: Axes, record: dict[str, Any], key: str, title: str) -> None:
    axes.set_title(title)
    shares = [100 * count / record["batch"] for count in record["wrong_counts"]]
    scale = 100 if key == "wrong_shares" else 1
    for name, variant in _VARIANTS.items():
        curve = [scale * value for value in record[key][name]]
        axes.plot(shares, curve, **_look(variant), label=f"{name} the {record['limit']:g}-sigma filter")
    if key == "wrong_advantages":
        axes.axhline(-record["limit"], color=COLOURS["quiet"], lw=0.8, linestyle=":")
        axes.set_ylabel("advantage (standard deviations)")
    else:
        axes.set_ylim(-4, 104)
        axes.set_ylabel("share of the squared norm (%)")
    axes.set_xlim(0, shares[-1])
    axes.set_xlabel(f"wrong answers of {record['batch']} (%)")
    axes.legend(loc="lower right")


def _look(variant: str) -> dict[str, Any]:
    # The dashed line is the wider one, so that it shows on both sides where the two coincide.
    width = 3.0 if variant == "reinforce_pp" else 1.3
    return {"color": COLOURS[variant], "linestyle": LINES[variant], "lw": width}


def _note(record: dict[str, Any]) -> str:
    return (
        f"Computed from the losses and advantages of this code, no model: PPO clips at 1 ± "
        f"{record['clip_eps']:g}, Pre-CLIP at log-ratios of ± log {record['pre_clip']:g} (dotted); "
        "rewards are 0 and 1.\n(d) holds on the first update if the gradients of all answers' log-probs "
        "have one length and are orthogonal."
    )
