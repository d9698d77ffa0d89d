"""Peak memory and time of loading a sharded checkpoint in a fresh process, compared with its size + 0.5 GB.

    python benchmarks/load.py [--model qwen2.5-1.5b] [--layers 18] [--out benchmarks/results/load.json]

The checkpoint has random values in bfloat16 and lies in a temporary folder (`TMPDIR`). The peak is Linux's `VmHWM`: all
resident memory, with Python, torch and the mapped pages of the files. The size is that of the loaded parameters. So
loading in float32 may take twice the size of the files plus 0.5 GB. The files are in the page cache when they are read.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import write_result

from softmax_rewards.models import catalogue, checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape

SPARE = 0.5e9  # bytes allowed beside the parameters
DTYPES = ("bfloat16", "float32")


def resident(key: str) -> int:
    """Resident bytes of this process: `VmRSS` is the present value, `VmHWM` the peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(key)))


def make(folder: Path, config: dict[str, Any]) -> None:
    """Write a random checkpoint in bfloat16."""
    model = Decoder.empty(Shape.from_config(config), dtype=torch.bfloat16)
    checkpoint.save(model.initialize(torch.Generator().manual_seed(0)), folder, config)


def load(folder: Path, dtype: str) -> dict[str, Any]:
    """Load the checkpoint in this process; return memory and time."""
    before, start = resident("VmRSS"), time.perf_counter()
    model = checkpoint.load(folder, dtype=getattr(torch, dtype))
    seconds, peak = time.perf_counter() - start, resident("VmHWM")
    size = sum(parameter.nbytes for parameter in model.parameters())
    return {
        "dtype": dtype,
        "parameters_gb": round(size / 1e9, 3),
        "before_gb": round(before / 1e9, 3),
        "peak_gb": round(peak / 1e9, 3),
        "allowed_gb": round((size + SPARE) / 1e9, 3),
        "within": peak <= size + SPARE,
        "seconds": round(seconds, 2),
    }


def apart(*arguments: str) -> str:
    """The output of this script with `arguments`, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-1.5b", help="a name in the catalogue")
    parser.add_argument("--layers", type=int, default=18, help="number of layers, at most the model's")
    parser.add_argument("--shard-gb", type=float, default=1.0, help="largest size of a file in 10^9 bytes")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    config = catalogue.find(arguments.model).config | {"num_hidden_layers": arguments.layers}
    if arguments.make:
        checkpoint.SHARD_BYTES = int(arguments.shard_gb * 1e9)
        make(arguments.make, config)
        return
    if arguments.load:
        print(json.dumps(load(Path(arguments.load[0]), arguments.load[1])))
        return
    with tempfile.TemporaryDirectory() as name:
        sizes = ["--model", arguments.model, "--layers", str(arguments.layers), "--shard-gb", str(arguments.shard_gb)]
        apart(*sizes, "--make", name)
        files = sorted(Path(name).glob("*.safetensors"))
        stored = sum(file.stat().st_size for file in files)
        print(f"{arguments.model}, {arguments.layers} layers: {stored / 1e9:.2f} GB in {len(files)} files")
        loads = [json.loads(apart(*sizes, "--load", name, dtype)) for dtype in DTYPES]
    for one in loads:
        verdict = f"{'within' if one['within'] else 'ABOVE'} {one['allowed_gb']:.2f} GB (parameters + 0.5 GB)"
        print(f"{one['dtype']:9} peak {one['peak_gb']:.2f} GB, {verdict}, {one['seconds']:.1f} s")
    facts = {
        "model": arguments.model,
        "layers": arguments.layers,
        "files": len(files),
        "stored_gb": round(stored / 1e9, 3),
    }
    write_result(arguments.out, "load", facts | {"loads": loads})


if __name__ == "__main__":
    main()
