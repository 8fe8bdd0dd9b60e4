import math

import pytest
import torch

from r1reward.train.updates import UpdateMeter


def step(
    weights: list[float], grad: list[float], *, rate: float, dtype: torch.dtype = torch.float32
) -> UpdateMeter:
    """One step of plain descent."""
    parameter = torch.nn.Parameter(torch.tensor(weights, dtype=dtype))
    parameter.grad = torch.tensor(grad, dtype=dtype)
    optimizer = torch.optim.SGD([parameter], lr=rate)
    meter = UpdateMeter(optimizer)
    assert math.isnan(meter.ratio)
    optimizer.step()
    return meter


def test_the_ratio_is_that_of_the_norms_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """Weights (3, 4) have norm 5, and a step of (0.3, 0.4) has 0.5."""
    assert step([3.0, 4.0], [3.0, 4.0], rate=0.1).ratio == pytest.approx(0.1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("rate", "grad", "dtype", "warned"),
    [
        (1e-3, 1.0, torch.bfloat16, True),
        (1e-3, 1.0, torch.float32, False),
        (1e-9, 1.0, torch.float32, True),
        (0.1, 1.0, torch.bfloat16, False),
        (0.0, 1.0, torch.bfloat16, False),
        (1e-3, 0.0, torch.bfloat16, False),
    ],
)
def test_an_update_that_rounding_takes_is_warned_about(
    rate: float, grad: float, dtype: torch.dtype, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    meter = step([1.0, 1.0], [grad, grad], rate=rate, dtype=dtype)
    assert ("most of it is lost" in caplog.text) == warned
    if warned:
        assert meter.ratio == 0.0


def test_a_run_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD([parameter], lr=1e-4)
    UpdateMeter(optimizer)
    for _ in range(3):
        optimizer.step()
    assert caplog.text.count("most of it is lost") == 1 and "update 1 " in caplog.text
