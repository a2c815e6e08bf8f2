"""What cannot be baked is refused before anything is written."""

import pytest
from toys import hf_hubert

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.bake import bake_experiment
from espnet_s3router.plugin.training.task import S3RouterASRTask


def test_upstream_that_stock_espnet_loads_in_half_precision(experiment, tmp_path):
    """It would fail at the first utterance."""
    (tmp_path / "half").mkdir()
    source, out = hf_hubert(tmp_path / "half", half=True), tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=1, frontend={"frontend_conf": source}))
    with pytest.raises(
        InputError, match=r"stock ESPnet cannot use its upstream .*half: .*Nothing was baked.*save a copy with from_pretr"
    ):
        bake_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "baked")
    assert not (tmp_path / "baked").exists()
