"""The weighting schemes in other trainers, TRL (`trl.py`) and verl (`verl.py`), and tools for their logs."""
