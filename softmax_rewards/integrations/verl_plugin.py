"""Registers every scheme with verl. verl imports this module if `VERL_USE_EXTERNAL_MODULES` names it."""

from verl.trainer.ppo.core_algos import register_adv_est

from softmax_rewards import weighting
from softmax_rewards.integrations.verl import PREFIX, estimator

for name in weighting.names():
    register_adv_est(PREFIX + name)(estimator(name))
