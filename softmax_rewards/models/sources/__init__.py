"""Sources of base models: one module per source.

A source has `Options`, the keys of its config (`common/options.py`), and `make(options, task, data, out)`. `make`
writes a folder in the Hugging Face layout and returns facts for its manifest. `training/base_model.py` does the rest,
which all sources share. Imports of torch and the like belong inside functions, so that a config can be checked
without them.
"""
