#!/usr/bin/env bash
# What only a GPU can tell, in less than ten minutes: its tests, the table of peak memory, a shortened countdown-smollm2.
# Result files go to the folder named, by default benchmarks/results. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
python=${PYTHON:-python}
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

"$python" -m pytest tests/policy/test_cuda.py
gigabytes=$("$python" -c "import torch; print(torch.cuda.get_device_properties(0).total_memory / 2**30 * 0.9)")
"$python" benchmarks/memory.py --largest "$gigabytes" --out "$out/memory-gpu.json"
"$python" benchmarks/experiment.py countdown-smollm2 --steps 20 --out "$out/countdown-smollm2-short.json"
