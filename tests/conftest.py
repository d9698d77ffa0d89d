"""Fixtures shared by the tests: a tiny task, base model and run, made once."""

import contextlib
import dataclasses
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the tests run side by side

import pytest
import torch
from filelock import FileLock

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.training import base_model, records

# The files that take longest, with seconds on one core. They start first: otherwise one process waits for another's.
LONGEST = (
    "workflow/test_pipeline.py",  # 120
    "training/test_trainer.py",  # 30
    "models/test_smollm2.py",  # 15
    "config/test_experiment_files.py",  # 12
)


def pytest_collection_modifyitems(items):
    places = {Path(__file__).parent / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def threads_as_before():
    """Training sets PyTorch's number of threads, on which the last bits of other tests' sums depend."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """(run, data folder, base folder) of the smoke experiment: too small to learn anything, quick to train."""
    experiment = experiments.load(Path(__file__).parent / "smoke/smoke.yaml")
    run = experiment.run("softmax-0.5", 0)
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=8, checkpoint_every=1))
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the parent folder is shared by the processes of `-n 2`
        folder = folder.parent
    data, base = folder / "tiny/data", folder / "tiny/base"
    with FileLock(folder / "tiny.lock"):
        if not (base / "manifest.json").exists():
            dataset.write(run.task, data)
            base_model.build(run.model, run.task, data, base)
    return run, data, base


@pytest.fixture
def interrupted_at(monkeypatch):
    """Blocks in which training is interrupted, as by Control-C, before it has logged a step."""
    logged = records.episode_row

    @contextlib.contextmanager
    def block(last):
        def interrupted(step, *arguments):
            if step == last:
                raise KeyboardInterrupt
            return logged(step, *arguments)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(records, "episode_row", interrupted)
            yield

    return block
