#!/usr/bin/env bash
# A step of real shapes on one GPU, beside other trainers, in less than ten minutes a shape: 256 answers of 1024 tokens, bf16.
# Usage: benchmarks/gpu_step.sh qwen2.5-0.5b|qwen2.5-3b [peers [folder]], peers as for step.py.
# Figures go to the folder, by default benchmarks/results. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
shape=${1:?which shape: qwen2.5-0.5b or qwen2.5-3b}
peers=${2:-}
out=${3:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

"${PYTHON:-python}" benchmarks/step.py --shape "$shape" --peers "$peers" --device cuda --steps 2 --out "$out/step-$shape.json"
