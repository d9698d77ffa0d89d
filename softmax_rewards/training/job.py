"""The job that trains one run: its GPUs, its processes, its training and the evaluation of its final model.

The rule `train` starts it by `workflow/scripts/train.py`, and torchrun by `python -m softmax_rewards.training`.
"""

import os
from pathlib import Path

from softmax_rewards.common import devices, provenance
from softmax_rewards.config.run import Run
from softmax_rewards.training import final_evaluation, slurm_nodes, state_file


def train(run: Run, data: Path, base: Path, out: Path, plan: Path, predictions: Path) -> None:
    """Train `run` in `training.gpus` processes, with all files in `out`, and evaluate its final model.

    Args:
        run: the run.
        data: the folder of its puzzles.
        base: the folder of its base model.
        out: the folder of the run.
        plan: the analysis plan, whose sha256 goes into `run.json`.
        predictions: the predictions, likewise; this file may be missing.
    """
    gpus = run.training.gpus
    with state_file.starting(out, run):
        if "LOCAL_RANK" not in os.environ:  # torchrun sets it in the processes that it starts
            if gpus > 1 and slurm_nodes.count() > 1:
                slurm_nodes.again(gpus)
                return
            devices.lease(run.training.device, count=gpus)
            if gpus > 1:
                from softmax_rewards.training import launch

                launch.again(gpus)
                return
        from softmax_rewards.training import evaluate, trainer  # torch must not be imported before the lease

        code = provenance.evaluation_fingerprint(run.to_dict())  # before training: sources may change meanwhile
        policy = trainer.train(run, data, base, out, provenance.plan_hashes(plan, predictions))
        if policy is not None:
            final_evaluation.leave(lambda folder: evaluate.final(out, data, folder, policy), out, code)
