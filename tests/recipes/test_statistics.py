"""Stage 10 reads the data alone: an upstream that takes minutes to build, or does not exist, makes no difference."""

from espnet_s3router.experiments import grid

SHAPES = ("speech_shape", "text_shape", "text_shape.char")


def test_statistics_need_no_upstream(prepared, tmp_path):
    """They equal those with an upstream, also if the configuration has ESPnet's default for them."""
    changes = {"stage": 10, "stop_stage": 10, "upstream_path": tmp_path / "absent.pt", "asr_stats_dir": tmp_path / "stats"}
    changes["asr_args"] = "model_conf.extract_feats_in_collect_stats=true"
    assert grid.main(prepared.words(tmp_path / "exp", **changes)) == 0
    for part in ("train", "valid"):
        made, expected = tmp_path / "stats" / part, prepared.here / "exp/stats" / part
        for name in SHAPES:
            assert (made / name).read_text("utf-8") == (expected / name).read_text("utf-8")
