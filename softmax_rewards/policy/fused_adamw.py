"""PyTorch's fused AdamW for float32 parameters, without weight decay.

`torch.optim.AdamW` loads PyTorch's compiler when it is created, which takes a second and is not used here. So this
module calls the function behind that class. The weights are the same to the last bit.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS, EPSILON = (0.9, 0.999), 1e-8


class FusedAdamW:
    """AdamW of `parameters`. It needs one pass over memory and no temporaries."""

    state: dict[Tensor, dict[str, Tensor]]
    """Parameter → its `step`, `exp_avg` and `exp_avg_sq`. Empty for a parameter that has had no gradient yet."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.state = {parameter: {} for parameter in parameters}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient."""
        updated = {parameter: state for parameter, state in self.state.items() if parameter.grad is not None}
        for parameter, state in updated.items():
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        adamw(
            list(updated),
            [parameter.grad for parameter in updated if parameter.grad is not None],
            [state["exp_avg"] for state in updated.values()],
            [state["exp_avg_sq"] for state in updated.values()],
            [],  # only AMSGrad keeps a maximum of the second moment
            [state["step"] for state in updated.values()],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
