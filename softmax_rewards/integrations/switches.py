"""A recommended scheme in the words of TRL and verl: the settings of these trainers that mean the same.

Where a trainer has no such setting, the scheme runs there with this project's trainer or estimator
(docs/other-trainers.md). Names and values are those of TRL 1.16 and verl 0.9.1.
"""

from collections.abc import Mapping

# Scheme → arguments of GRPOConfig. A factor that is the same for all groups does not count, because Adam cancels it.
TRL: Mapping[str, Mapping[str, str | bool]] = {
    "linear": {"scale_rewards": "group"},
    "dr_grpo": {"scale_rewards": "none"},
    "rloo": {"scale_rewards": "none"},
}
# What keeps GRPO from shortening answers, by itself: either of both.
TRL_AGAINST_CUTS: Mapping[str, str | bool] = {"mask_truncated_completions": True, "scale_rewards": "batch"}
# The loss in which the schemes were compared here: a mean over tokens. It is the default of both trainers.
TRL_LOSS: Mapping[str, str | bool] = {"loss_type": "dapo"}
VERL_LOSS: Mapping[str, str | bool] = {"actor_rollout_ref.actor.loss_agg_mode": "token-mean"}

_ESTIMATOR, _DIVIDE = "algorithm.adv_estimator", "algorithm.norm_adv_by_std_in_grpo"
VERL: Mapping[str, Mapping[str, str | bool]] = {
    "linear": {_ESTIMATOR: "grpo", _DIVIDE: True},
    "dr_grpo": {_ESTIMATOR: "grpo", _DIVIDE: False},
    "rloo": {_ESTIMATOR: "rloo"},
}


def of_scheme(scheme: str, tau: float | None, ends: tuple[float, float], threshold: float | None) -> list[str]:
    """How to choose a scheme in TRL and in verl, one sentence each, and one about the loss.

    tau        the temperature in units of reward; None for a scheme without one
    ends       the lowest and the highest reward
    threshold  the reward from which on an answer is right; None if rewards alone do not say it
    """
    low, high = (f"{end:.6g}" for end in ends)
    # The highest reward is the trainer's and the estimator's own threshold.
    right = None if threshold in (None, ends[1]) else f"{threshold:.6g}"
    if scheme in TRL:
        trl = f"GRPOConfig({_arguments(TRL[scheme])})"
    else:
        settings = f'"scheme": "{scheme}"' + ("" if tau is None else f', "tau": {tau:.4g}')
        also = "" if right is None else f", threshold={right}"
        trl = f"WeightedGRPOTrainer(..., scheme=Scheme({{{settings}}}, reward_range=({low}, {high}){also}))"
    if scheme in VERL:
        verl = _overrides(VERL[scheme])
    else:
        options = {} if tau is None else {"tau": f"{tau:.4g}"}
        options["reward_range"] = f"[{low},{high}]"
        options |= {} if right is None else {"threshold": right}
        added = {f"+algorithm.softmax_rewards.{name}": value for name, value in options.items()}
        verl = _overrides({_ESTIMATOR: f"softmax_rewards.{scheme}"} | added)
    loss = f"{_arguments(TRL_LOSS)} in TRL, {_overrides(VERL_LOSS)} in verl"
    return [f"In TRL: {trl}", f"In verl: {verl}", f"Loss, as in the comparisons here (the defaults): {loss}."]


def against_cuts() -> str:
    """What TRL and verl offer to those who keep GRPO although it shortens answers that a limit cuts."""
    first, second = (_arguments({name: value}) for name, value in TRL_AGAINST_CUTS.items())
    return (
        f"To keep GRPO where a limit cuts long answers: GRPOConfig({first}) or GRPOConfig({second}) in TRL; "
        f"{_ESTIMATOR}=softmax_rewards.batch_std in verl, which cannot leave cut answers out of the loss."
    )


def _arguments(settings: Mapping[str, str | bool]) -> str:
    shown = {name: f'"{value}"' if isinstance(value, str) else value for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def _overrides(settings: Mapping[str, str | bool]) -> str:
    """As Hydra reads them on the command line."""
    return " ".join(f"{name}={value}" for name, value in settings.items())
