"""Set-up of a run: which runs tell ESPnet of unused parameters, and what is refused before anything is written."""

import shutil
from collections import namedtuple

import pytest
import yaml
from espnet2.tasks.abs_task import AbsTask

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.plugin.training.setup import leaves_unused
from espnet_s3router.plugin.training.task import S3RouterASRTask, S3RouterSLUTask


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"mask_conf": {"method": "routing", "sparsity": 0.1}}, False),
        ({}, False),
        ({"mask_conf": {"method": "finetune"}}, True),
        ({"mask_conf": {"method": "parp", "sparsity": 0.5}}, True),
        ({"layerdrop": 0.1}, True),
        ({"layer": 1}, True),
    ],
    ids=str,
)
def test_methods_that_leave_parameters_unused(conf, expected):
    Args = namedtuple("Args", "frontend_conf")
    assert leaves_unused(Args(conf)) is expected


@pytest.mark.parametrize("task", [S3RouterASRTask, S3RouterSLUTask])
@pytest.mark.parametrize(
    ("mask_conf", "frontend", "distributed", "expected"),
    [
        ({"method": "routing", "sparsity": 0.1}, {}, True, False),
        ({"method": "finetune"}, {}, True, True),
        ({"method": "finetune"}, {}, False, False),
        ({"method": "parp", "sparsity": 0.5}, {}, True, True),
        ({"method": "routing", "sparsity": 0.1}, {"layer": 1}, True, True),
        ({"method": "routing", "sparsity": 0.1}, {"layerdrop": 0.1}, True, True),
        ({"method": "routing", "sparsity": 0.1}, {"layerdrop": 0.1}, False, False),
    ],
)
def test_several_processes_set_unused_parameters(task, mask_conf, frontend, distributed, expected, experiment, monkeypatch):
    """Only where some may be unused; the value that a user has set stays."""
    started = []
    monkeypatch.setattr(AbsTask, "main_worker", classmethod(lambda cls, args: started.append((cls, args))))
    for requested in (False, True):
        command = experiment(mask_conf=mask_conf, frontend=frontend, unused_parameters=requested)
        args = task.get_parser().parse_args(command)
        args.distributed = distributed  # ESPnet sets it before
        task.main_worker(args)
        assert started.pop() == (task, args)
        assert args.unused_parameters is (requested or expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_dtype": "float16"}, "train_dtype is 'float16', expected float32.*use_amp"),
        ({"ngpu": 2}, "ngpu is 2 in one process.*--multiprocessing_distributed true"),
    ],
    ids=str,
)
def test_settings_that_do_not_work_with_masks(changes, message, experiment, tmp_path):
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", **changes))
    assert not list((tmp_path / "exp").glob("*.pth"))


def test_init_chainer_is_refused(experiment, tmp_path):
    """ESPnet reloads nothing after this one: the upstream would be random."""
    with pytest.raises(InputError, match="init is 'chainer'.*xavier_uniform"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", init="chainer"))
    assert not list((tmp_path / "exp").glob("*.pth"))


@pytest.mark.parametrize("frozen", ["frontend", "frontend.upstream", "frontend.upstream.upstream.model.encoder.layers.1"])
def test_frozen_scores_are_an_error(frozen, experiment):
    """Hazard 4: the freeze_param of every s3prl recipe would freeze the scores, and nothing would be learned."""
    with pytest.raises(InputError, match=r"that the method trains are frozen.*scores\. Remove freeze_param"):
        S3RouterASRTask.main(cmd=experiment(freeze_param=[frozen]))


@pytest.mark.parametrize("strategy", ["adapter_only", "required_grad_only"])
def test_files_that_could_not_be_loaded_are_not_written(strategy, experiment, tmp_path):
    """ESPnet would omit the fingerprint of the base, and with adapter_only also the head."""
    more = {"use_adapter": True, "adapter": "lora", "adapter_conf": {"rank": 2, "target_modules": ["q_proj"]}}
    more |= {"mask_conf": {"method": "head_only"}, "frontend": {"dropout": "upstream"}, "save_strategy": strategy}
    with pytest.raises(InputError, match=f"save_strategy is '{strategy}'.*Expected all"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", **more))
    assert not list((tmp_path / "exp").glob("*.pth"))


def test_full_disk_is_refused_before_training(experiment, monkeypatch, tmp_path):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 2**14, 2**14))
    with pytest.raises(InputError, match="has 0 MiB free, but the checkpoints need about .* MiB.*Free some space"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp"))
    assert not list((tmp_path / "exp").glob("*.pth"))


@pytest.mark.parametrize("mask_conf", [{"method": "routing", "sparsity": 2}, {"method": "rooting"}], ids=str)
def test_bad_options_end_the_command_with_a_paragraph(mask_conf, experiment, monkeypatch, capsys):
    """Exit code 1 and one line on stderr, no traceback."""
    from espnet_s3router.bin.asr_train import main

    monkeypatch.setattr("sys.argv", ["asr_train", *experiment(mask_conf=mask_conf)])
    assert exit_status(main)() == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: mask_conf: ")


def test_configuration_written_down_is_complete(experiment, tmp_path):
    """Another person must be able to rebuild the model from config.yaml and the model file alone."""
    S3RouterASRTask.main(
        cmd=experiment(out=tmp_path / "exp", dry_run=True, iterator_type="none", frontend={"layerdrop": 0.2})
    )
    config = yaml.safe_load((tmp_path / "exp" / "config.yaml").read_text())
    assert config["frontend"] == "masked_upstream" and config["frontend_conf"]["layerdrop"] == 0.2
    assert config["frontend_conf"]["mask_conf"]["sparsity"] == 0.2
