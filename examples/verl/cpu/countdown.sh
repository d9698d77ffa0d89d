#!/usr/bin/env bash
# Runs ../countdown.sh on processors, with the embedded model: verl's own trainer, without a GPU and without vLLM. It
# shows that a launch works before a GPU is rented. Run in the folder of this repository, in the environment that
# `make test-verl` leaves in .venv-verl:
#
#   python examples/verl/cpu/model.py config/experiments/countdown-mini.yaml data/verl/embedded
#   python examples/verl/data.py config/experiments/countdown-mini.yaml data/verl/countdown-mini
#   ABLATION=linear SEED=0 bash examples/verl/cpu/countdown.sh trainer.total_training_steps=3
#
# Further arguments go to verl. Without RAY_ADDRESS, verl starts Ray on this machine, with GPUS workers. With it, verl
# joins a cluster. Then every node of the cluster needs `ray start … --num-gpus` with its number of workers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${GPUS:=1}" "${MODEL:=data/verl/embedded}" "${DATA:=data/verl/countdown-mini}" "${RUNS:=results/verl-cpu}"
[ -d "$MODEL" ] || {
    echo "MODEL: $MODEL is no folder; examples/verl/cpu/model.py makes it" >&2
    exit 1
}
MODEL=$(realpath "$MODEL")
export GPUS DATA RUNS MODEL
export VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=verl_cpu
export PYTHONPATH="$here:$(cd "$here/../../.." && pwd)${PYTHONPATH:+:$PYTHONPATH}"

# Ray counts these; it does not look for them. verl reserves three processors per worker, and one per other actor.
ray=(
    +ray_kwargs.ray_init.num_gpus="$GPUS"
    ray_kwargs.ray_init.num_cpus=$((4 + 3 * GPUS))
    +ray_kwargs.ray_init.include_dashboard=False
)
[ -z "${RAY_ADDRESS:-}" ] || ray=()

exec bash "$here/../countdown.sh" \
    "${ray[@]}" \
    ++ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES="'verl_cpu,softmax_rewards.integrations.verl_plugin'" \
    +ray_kwargs.ray_init.runtime_env.env_vars.VERL_PLATFORM=cpu \
    +ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH="'$PYTHONPATH'" \
    trainer.device=cpu \
    data.train_batch_size=8 \
    data.max_response_length=64 \
    data.dataloader_num_workers=0 \
    reward.num_workers=1 \
    transfer_queue.backend.SimpleStorage.num_data_storage_units=1 \
    actor_rollout_ref.model.use_remove_padding=False \
    +actor_rollout_ref.model.override_config.attn_implementation=sdpa \
    actor_rollout_ref.actor.strategy=fsdp2 \
    +actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32 \
    actor_rollout_ref.actor.use_torch_compile=False \
    actor_rollout_ref.actor.ppo_mini_batch_size=8 \
    actor_rollout_ref.rollout.name=transformers \
    actor_rollout_ref.rollout.agent.num_workers=1 \
    "$@"
