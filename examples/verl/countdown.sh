#!/usr/bin/env bash
# Trains Qwen2.5-3B-Instruct on Countdown with verl (Ray, FSDP, vLLM), for one ablation and one seed. A step has 32 × 8
# answers of up to 1024 tokens, one update and no KL penalty. Every 10 steps, 128 held-out puzzles are answered at
# temperature 1. Run in the folder of this repository:
#
#   pip install --no-deps -e .           # into verl's environment; --no-deps keeps its versions
#   python examples/verl/data.py config/experiments/countdown-qwen2.5-3b.yaml data/verl/countdown
#   ABLATION=linear SEED=0 bash examples/verl/countdown.sh
#   ABLATION=softmax_centered SEED=0 bash examples/verl/countdown.sh +algorithm.softmax_rewards.tau=0.5
#
# Further arguments go to verl. `softmax-rewards judge RUNS` reads the file RUNS/$ABLATION/seed-$SEED/log.jsonl.
# The prompts in $DATA are written for the experiment's model. Write them again for another $MODEL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${ABLATION:?the name of the ablation}" "${SEED:?a whole number}"
: "${SCHEME:=$ABLATION}" "${RUNS:=results/verl-countdown}" "${DATA:=data/verl/countdown}" "${GPUS:=1}"
: "${MODEL:=Qwen/Qwen2.5-3B-Instruct}" "${LAUNCH:=python -m verl.trainer.main_ppo}"
run=$RUNS/$ABLATION/seed-$SEED
mkdir -p "$run"
run=$(realpath "$run") # Ray's workers may have another folder
case $DATA in /*) ;; *) DATA=$PWD/$DATA ;; esac

# shellcheck disable=SC2086  # LAUNCH is a command with its arguments
exec $LAUNCH \
    +ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES=softmax_rewards.integrations.verl_plugin \
    +ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH="$run/log.jsonl" \
    algorithm.adv_estimator=softmax_rewards."$SCHEME" \
    +algorithm.softmax_rewards.reward_range='[0,1.1]' \
    +algorithm.softmax_rewards.threshold=1.0 \
    algorithm.use_kl_in_reward=False \
    data.train_files="$DATA/train.parquet" \
    data.val_files="$DATA/test.parquet" \
    data.train_batch_size=32 \
    data.max_prompt_length=256 \
    data.max_response_length=1024 \
    data.seed="$SEED" \
    reward.custom_reward_function.path="$here/reward.py" \
    actor_rollout_ref.model.path="$MODEL" \
    actor_rollout_ref.model.custom_chat_template="'$(cat "$here/chat_template.jinja")'" \
    actor_rollout_ref.model.enable_gradient_checkpointing=True \
    actor_rollout_ref.actor.optim.lr=1e-5 \
    actor_rollout_ref.actor.optim.weight_decay=0 \
    actor_rollout_ref.actor.ppo_mini_batch_size=32 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.actor.loss_agg_mode=token-mean \
    actor_rollout_ref.actor.use_kl_loss=False \
    actor_rollout_ref.actor.data_loader_seed="$SEED" \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.seed="$SEED" \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.4 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.rollout.val_kwargs.do_sample=True \
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0 \
    hydra.run.dir="$run/hydra" \
    trainer.logger='[console,file]' \
    trainer.project_name=softmax-rewards \
    trainer.experiment_name="$ABLATION-$SEED" \
    trainer.default_local_dir="$run/checkpoints" \
    trainer.rollout_data_dir="$run/rollouts" \
    trainer.n_gpus_per_node="$GPUS" \
    trainer.total_training_steps=70 \
    trainer.val_before_train=True \
    trainer.test_freq=10 \
    trainer.save_freq=-1 \
    "$@"
