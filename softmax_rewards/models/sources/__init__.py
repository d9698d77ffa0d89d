"""Where a base model comes from: one module per source.

A source has `Options`, the keys of its config (`common/options.py`), and `make(options, task, data, out)`. `make`
writes a Hugging Face style folder and returns facts for its manifest. `training/base_model.py` does what all sources
share.
Heavy imports belong inside functions, so that a config can be checked without them.
"""
