#!/usr/bin/env bash
# All that only a GPU can tell, in less than ten minutes on one H100 or H200, and the most important part first.
#
#   benchmarks/gpu_all.sh [folder [checkout of GRPO-Zero]]
#
# Each part has a time limit, and one that fails does not stop the others; then the exit status is 1. Logs, results and
# summary.md, which compares goals and measured values, go to the folder (default: benchmarks/results/gpu). Nothing is
# downloaded. It needs Python from 3.11, torch from 2.11, pytest, numpy, scipy, pandas, pyarrow, pyyaml, jinja2, rich,
# huggingface_hub, safetensors, tokenizers, pydantic and filelock. PYTHON names the interpreter. PARTS and SHAPES choose
# what runs. DEVICE=cpu STEP="--prompts 2 --longest 8" tries it without a GPU; STEP has options of step.py.
set -uo pipefail
out=$(realpath -m "${1:-$(dirname "$0")/results/gpu}") checkout=${2:+$(realpath "$2")}
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python} parts=${PARTS:-tests step peers memory leases ranks} shapes=${SHAPES:-qwen2.5-0.5b qwen2.5-3b}
mkdir -p "$out" && : >"$out/parts.txt"
bases=$(mktemp -d) && trap 'rm -rf "$bases"' EXIT # the models, each written once
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

part() { # name, greatest number of seconds, arguments of Python; the name's first word is the part
    local name=$1 began=$SECONDS limit=$(($2 < 590 - SECONDS ? $2 : 590 - SECONDS)) code=124
    [[ " $parts " == *" ${name%%-*} "* ]] || return
    ((limit <= 0)) || { timeout -k 5 "$limit" "$python" "${@:3}" >"$out/$name.log" 2>&1; code=$?; }
    echo "$name $code $((SECONDS - began)) $2" | tee -a "$out/parts.txt"
}
measure() { # part, shape, seconds, options of step.py
    # shellcheck disable=SC2086  # STEP has several words
    part "$1-$2" "$3" benchmarks/step.py --shape "$2" --base "$bases/$2" --device "${DEVICE:-cuda}" \
        --out "$out/$1-$2.json" --steps 1 "${@:4}" ${STEP:-}
}
# Without the tests that only a processor runs. Warnings of other versions than the pinned ones are no errors.
pytest=(-m pytest -W default) lease=test_one_job_at_a_time_holds_the_device
part tests 70 "${pytest[@]}" tests/policy/test_cuda.py -m "not slow" -k "not $lease"
for shape in $shapes; do measure step "$shape" 130; done
# GRPO-Zero should need half a minute for 256 answers of 512 tokens of the 3B shape, twice. 1024 would take too long.
for shape in ${checkout:+$shapes}; do measure peers "$shape" 140 --longest 512 --peers "grpo-zero=$checkout"; done
part memory 60 benchmarks/memory.py --models qwen2.5-0.5b,qwen2.5-3b --out "$out/memory.json"
part leases 30 "${pytest[@]}" tests/common/test_devices.py "tests/policy/test_cuda.py::$lease"
(($(nvidia-smi -L 2>/dev/null | wc -l) < 2)) || part ranks 90 "${pytest[@]}" tests/policy/test_ranks.py -k "two_gpus and float32"
"$python" benchmarks/gpu_summary.py "$out"
