"""`config/config.yaml`: where the runs of an experiment are looked for."""

from pathlib import Path

import pytest
import yaml

from softmax_rewards.config import settings

SMOKE = Path(__file__).parents[1] / "smoke/smoke.yaml"


@pytest.mark.parametrize(
    ("only", "named", "expected"),
    [
        (False, None, None),  # the runs are trained, although an archive may exist
        (True, None, "results/archive/mine"),
        (True, "results/archive/other", "results/archive/other"),
    ],
)
def test_an_experiment_without_an_archive_has_one_by_its_name_if_nothing_is_trained(tmp_path, only, named, expected):
    experiment = yaml.safe_load(SMOKE.read_text(encoding="utf-8")) | {"archive": named}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment))
    values = {"experiments": [str(tmp_path / "mine.yaml")], "archived_only": only}
    _, loaded = settings.load(values, "config.yaml")
    assert loaded["mine"].archive == expected
