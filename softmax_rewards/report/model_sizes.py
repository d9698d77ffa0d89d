"""How far schemes are from GRPO in experiments that differ in the size of the model only: `countdown-mini-scale-*`."""

import re
from pathlib import Path

import pandas as pd

EXPERIMENTS = "countdown-mini-scale-*"
COLUMNS = ["size", "ablation", "weighting", "setting", "delta", "low", "high"]


def table(results: Path) -> pd.DataFrame:
    """Differences from the baseline in mean success over training, for each finished experiment in `results`.

    Columns: size, in millions of parameters, from the experiment's name; ablation, weighting and setting as in
    ablations.csv; delta, low, high.
    """
    found = []
    for file in sorted(results.glob(f"{EXPERIMENTS}/summary/comparisons.csv")):
        if size := re.search(r"-([\d.]+)m$", file.parents[1].name):
            compared, described = pd.read_csv(file), pd.read_csv(file.with_name("ablations.csv"))
            main = compared[(compared["endpoint"] == "auc") & compared["delta"].notna()]
            main = main.merge(described[["ablation", "weighting", "setting", "baseline"]], on="ablation")
            found.append(main[main["against"] == main["baseline"]].assign(size=float(size[1])))
    return pd.concat(found)[COLUMNS] if found else pd.DataFrame(columns=COLUMNS)
