"""Weighting schemes in the trainers that people already run: TRL (`trl.py`) and verl (`verl.py`)."""
