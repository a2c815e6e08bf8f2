"""Stage 10 looks at the data alone: an upstream that takes minutes to build, or none at all, is no matter to it."""

from espnet_s3router.experiments import grid as experiments

SHAPES = ("speech_shape", "text_shape", "text_shape.char")


def test_statistics_need_no_upstream(prepared, tmp_path):
    """They are those with one that is there, also where a configuration has what ESPnet has where it says nothing."""
    asked = {"stage": 10, "stop_stage": 10, "upstream_path": tmp_path / "absent.pt", "stats_dir": tmp_path / "stats"}
    asked["asr_args"] = "model_conf.extract_feats_in_collect_stats=true"
    assert experiments.main(prepared.options(tmp_path / "exp", **asked)) == 0
    for part in ("train", "valid"):
        made, expected = tmp_path / "stats" / part, prepared.here / "exp/stats" / part
        for name in SHAPES:
            assert (made / name).read_text("utf-8") == (expected / name).read_text("utf-8")
