"""ESPnet's tasks with our hooks: optimisers, freezing, initialisation, and whole runs of training."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from espnet2.tasks.abs_task import AbsTask
from toys import speech

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask
from espnet_s3router.plugin.checkpoint import FINGERPRINT
from espnet_s3router.plugin.training.task import S3RouterASRTask, S3RouterSLUTask, leaves_unused

BATCH = speech(8000, 5000, seed=1)
SCORES = "frontend.upstream.upstream.model.encoder.layers.0.feed_forward.intermediate_dense.parametrizations.weight.0.scores"


def group_of(optimizer, parameter):
    return next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))


@pytest.mark.parametrize(
    ("optim_conf", "expected"),
    [
        ({"lr": 0.01}, (0.01, 0.01, 0.01)),
        ({"lr": 0.01, "head_lr": 0.1}, (0.01, 0.01, 0.1)),
        ({"lr": 0.01, "weight_lr": 0.001, "head_lr": 0.1}, (0.01, 0.001, 0.1)),
    ],
)
def test_learning_rates_by_group(optim_conf, expected, asr_model):
    """Scores, weights inside the upstream, and the head; every trained parameter once and no frozen one."""
    mask_conf = {"method": "routing", "sparsity": 0.2, "train_norms": True}
    model, args = asr_model(mask_conf=mask_conf, optim_conf=optim_conf)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    parameters = dict(model.named_parameters())
    norm = "frontend.upstream.upstream.model.encoder.layers.0.layer_norm.weight"
    found = tuple(group_of(optimizer, parameters[name])["lr"] for name in (SCORES, norm, "ctc.ctc_lo.weight"))
    assert found == expected
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert args.optim_conf == optim_conf  # the configuration that is written down stays whole


def test_weight_decay_where_espnet_leaves_it_out(asr_model):
    """exclude_weight_decay spares biases and norms, and neither scores nor matrices."""
    mask_conf = {"method": "routing", "sparsity": 0.2, "train_norms": True}
    model, args = asr_model(mask_conf=mask_conf, optim_conf={"lr": 0.01, "weight_decay": 0.1}, exclude_weight_decay=True)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    spared = [name for name, p in model.named_parameters() if decays.get(id(p)) == 0.0]
    assert spared and all(name.endswith("bias") or "layer_norm" in name for name in spared)
    assert {decays[id(p)] for name, p in model.named_parameters() if name.endswith((".scores", "ctc_lo.weight"))} == {0.1}


@pytest.mark.parametrize(
    ("optim_conf", "message"),
    [
        ({"lr": "1e-3"}, "optim_conf: lr is '1e-3', expected a number. YAML takes 1e-3 for text: write 1.0e-3"),
        ({"lr": 0.1, "weight_lrs": 0.1}, "optim_conf of adam: .*'weight_lrs'"),
        ({"lr": -0.1}, "optim_conf of adam: Invalid learning rate: -0.1"),
    ],
    ids=str,
)
def test_bad_options_of_the_optimiser(optim_conf, message, asr_model):
    model, args = asr_model(optim_conf=optim_conf)
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.build_optimizers(args, model)


def test_unknown_optimizer(asr_model):
    model, args = asr_model()
    args.optim = "madam"
    with pytest.raises(InputError, match="'madam', expected one of adadelta"):
        S3RouterASRTask.build_optimizers(args, model)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_an_update_that_mixed_precision_left_out_does_not_count(found, asr_model):
    """GradScaler calls a fused optimiser all the same, which then changes nothing: rounds and ramps must not run ahead."""
    model, args = asr_model()
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    optimizer.found_inf = torch.tensor(found)  # as GradScaler sets it for the time of the step
    optimizer.step()
    assert model.frontend.attached.update == 1 - found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_dtype": "float16"}, "train_dtype is 'float16', expected float32.*use_amp"),
        ({"ngpu": 2}, "ngpu is 2 in one process.*--multiprocessing_distributed true"),
    ],
    ids=str,
)
def test_what_masks_do_not_work_with_is_refused_before_training(changes, message, experiment, tmp_path):
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", **changes))
    assert not list((tmp_path / "exp").glob("*.pth"))


@pytest.mark.parametrize("frozen", ["frontend", "frontend.upstream", "frontend.upstream.upstream.model.encoder.layers.1"])
def test_frozen_scores_are_an_error(frozen, experiment):
    """Hazard 4: the freeze_param of every s3prl recipe would freeze the scores, and nothing would be learned."""
    with pytest.raises(InputError, match=r"that the method trains are frozen.*scores\. Remove freeze_param"):
        S3RouterASRTask.main(cmd=experiment(freeze_param=[frozen]))


def test_freezing_something_else_is_fine(asr_model):
    model, args = asr_model()
    for parameter in model.ctc.parameters():
        parameter.requires_grad_(False)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("init", ["xavier_uniform", "kaiming_normal"])
@pytest.mark.parametrize("family", ["wav2vec2", "hf_hubert", "espnet_hubert"])
def test_init_gives_upstream_and_scores_back(init, family, asr_model):
    """Hazard 5: ESPnet's ``init`` overwrites every parameter, scores and upstream too. Only the head may differ."""
    from espnet2.torch_utils.initialize import initialize

    model, _ = asr_model(family=family)
    frontend, before = model.frontend.eval(), copy.deepcopy(dict(model.frontend.upstream.state_dict()))
    with torch.no_grad():
        feats = frontend(BATCH.waves, BATCH.lengths)[0]
    head = model.ctc.ctc_lo.weight.clone()
    initialize(model, init)
    assert not torch.equal(model.ctc.ctc_lo.weight, head)
    after = frontend.upstream.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[key], before[key]) for key in before)
    with torch.no_grad():
        assert torch.equal(frontend(BATCH.waves, BATCH.lengths)[0], feats)
    for masked in frontend.attached.masks.values():
        assert torch.equal(masked.mask, topk_mask(masked.scores, 0.2))


def test_init_chainer_is_refused(experiment, tmp_path):
    """ESPnet reloads nothing after this one: the upstream would be random."""
    with pytest.raises(InputError, match="init is 'chainer'.*xavier_uniform"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", init="chainer"))
    assert not list((tmp_path / "exp").glob("*.pth"))


def test_init_through_the_configuration(asr_model):
    """As a user has it in a YAML file."""
    plain, _ = asr_model()
    initialised, _ = asr_model(init="xavier_uniform")
    before, after = plain.frontend.upstream.state_dict(), initialised.frontend.upstream.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}, {}], ids=str)
def test_masks_follow_the_optimiser(options, asr_model):
    """A fused optimiser does not raise the version counters that masks are kept by: without a hint they would never
    change, silently."""
    model, args = asr_model(optim_conf={"lr": 0.05, **options})
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    model.frontend.train()
    for step in range(1, 4):
        optimizer.zero_grad()
        (model.frontend(BATCH.waves, BATCH.lengths)[0][..., :3] ** 2).sum().backward()
        optimizer.step()
        for masked in model.frontend.attached.masks.values():
            assert masked.selections == step
            assert torch.equal(masked.mask, topk_mask(masked.scores, 0.2))
            assert masked.selections == step + 1


def test_step_hook_counts_real_updates(asr_model):
    """From 1, and on from where a resumed optimiser is."""
    model, args = asr_model()
    seen = []
    attached = model.frontend.attached
    attached.step = lambda update, optimizer: seen.append((update, optimizer))

    def update(optimizer):
        optimizer.zero_grad()
        model.frontend.train()(BATCH.waves, BATCH.lengths)[0].square().sum().backward()
        optimizer.step()

    (first,) = S3RouterASRTask.build_optimizers(args, model)
    update(first)
    update(first)
    state = first.state_dict()
    attached.update = 0  # as in another process
    (second,) = S3RouterASRTask.build_optimizers(args, model)
    second.load_state_dict(state)
    update(second)
    assert seen == [(1, first), (2, first), (3, second)]


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
def test_who_leaves_parameters_unused(conf, expected):
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
def test_several_processes_are_told_of_unused_parameters(
    task, mask_conf, frontend, distributed, expected, experiment, monkeypatch
):
    """And they alone, where some may be; what a user has asked for stays."""
    started = []
    monkeypatch.setattr(AbsTask, "main_worker", classmethod(lambda cls, args: started.append((cls, args))))
    for asked in (False, True):
        command = experiment(mask_conf=mask_conf, frontend=frontend, unused_parameters=asked)
        args = task.get_parser().parse_args(command)
        args.distributed = distributed  # as ESPnet has found out by then
        task.main_worker(args)
        assert started.pop() == (task, args)
        assert args.unused_parameters is (asked or expected)


def test_a_spawned_process_knows_the_frontend():
    """All that it gets is a reference to what it is to run."""
    script = "import pickle, sys; pickle.load(sys.stdin.buffer); from espnet2.tasks.asr import frontend_choices; "
    script += "print(frontend_choices.get_class('masked_upstream').__name__)"
    reference = pickle.dumps(S3RouterASRTask.main_worker)
    ended = subprocess.run([sys.executable, "-c", script], input=reference, capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.split()[-1] == b"MaskedUpstream"  # imports of ESPnet say something too


@pytest.fixture
def states(tmp_path):
    """load(name, folder) -> the tensors of a model file; ESPnet's checkpoint.pth holds NumPy scalars beside them."""
    return lambda name, folder="exp": torch.load(tmp_path / folder / name, weights_only=name != "checkpoint.pth")


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def test_training_writes_slim_files_and_the_log_of_masks(experiment, states, tmp_path, corpus):
    """A whole run by the command; the frozen weights are in no file, and the scores have moved."""
    from espnet_s3router.bin.asr_train import main

    main(experiment(out=tmp_path / "exp", max_epoch=2))
    first, second = states("1epoch.pth"), states("2epoch.pth")
    learned = {key for key in first if key.startswith("frontend.")}
    assert all(key.endswith(("scores", FINGERPRINT)) for key in learned) and len(learned) == 13
    assert not torch.equal(first[SCORES], second[SCORES])
    assert torch.equal(first["frontend." + FINGERPRINT], second["frontend." + FINGERPRINT])
    checkpoint = states("checkpoint.pth")
    assert set(checkpoint["model"]) == set(second)
    rows = [line.split("\t") for line in (tmp_path / "exp" / "masks.tsv").read_text().splitlines()]
    assert rows[0] == ["epoch", "site", "sparsity", "flipped_since_last", "flipped_since_start"]
    assert [row[0] for row in rows if row[1] == "all"] == ["1", "2"] and len(rows) == 1 + 2 * 13
    assert all(float(row[2]) == pytest.approx(0.2, abs=0.002) for row in rows[1:])
    assert float(rows[-1][4]) > 0.0
    assert not list((tmp_path / "exp").glob(".*"))  # nothing half-written is left

    # the averaged model that ESPnet makes at the end decodes with exact masks
    averaged = tmp_path / "exp" / "valid.loss.ave.pth"
    model, _ = S3RouterASRTask.build_model_from_file(tmp_path / "exp" / "config.yaml", averaged, "cpu")
    assert torch.equal(model.state_dict()[SCORES], states("valid.loss.ave.pth")[SCORES])
    for masked in model.frontend.attached.masks.values():
        assert int((~masked.mask).sum()) == int(0.2 * masked.mask.numel() + 0.5)


def test_resumed_run_equals_an_uninterrupted_one(experiment, states, tmp_path, caplog):
    """Also when the last checkpoint was damaged (hazard 15), and when only the one before it is left."""
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=3))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=2))
    shutil.copytree(tmp_path / "exp", tmp_path / "damaged")
    shutil.copytree(tmp_path / "exp", tmp_path / "gone")
    whole = states("3epoch.pth", "whole")

    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=3, resume=True))
    assert same(states("3epoch.pth"), whole)

    broken = tmp_path / "damaged" / "checkpoint.pth"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "damaged", max_epoch=3, resume=True))
    assert same(states("3epoch.pth", "damaged"), whole)

    (tmp_path / "gone" / "checkpoint.pth").unlink()
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "gone", max_epoch=3, resume=True))
    assert same(states("3epoch.pth", "gone"), whole)
    logs = [(tmp_path / name / "masks.tsv").read_text().splitlines() for name in ("whole", "gone")]
    assert [line.split("\t")[:4] for line in logs[0]] == [line.split("\t")[:4] for line in logs[1]]


def test_resume_where_accumulation_leaves_a_rest(experiment, states, tmp_path):
    """Four batches and updates of three: what is left of an epoch belongs to no update of the next."""
    more = {"accum_grad": 3, "batch_size": 2}
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=2, **more))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1, **more))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=2, resume=True, **more))
    assert same(states("2epoch.pth"), states("2epoch.pth", "whole"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim_conf": {"lr": 0.02}}, r"optim_conf was \{'lr': 0.01\}, is \{'lr': 0.02\} now"),
        ({"mask_conf": {"method": "routing", "sparsity": 0.3}}, "frontend_conf was .*'sparsity': 0.2.*'sparsity': 0.3"),
        ({"seed": 5}, "seed was 0, is 5 now"),
    ],
    ids=["lr", "sparsity", "seed"],
)
def test_resume_with_another_configuration_is_refused(changes, message, experiment, tmp_path):
    """Before anything is written over the run that is there."""
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=1))
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=2, resume=True, **changes))
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_resume_from_another_directory_is_the_same_run(experiment, tmp_path, monkeypatch):
    """A path may be spelled from the working directory or from the root."""
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1))
    command = experiment(out=tmp_path / "exp", max_epoch=2, resume=True)
    config = Path(command[-1])
    monkeypatch.chdir(tmp_path)
    text = config.read_text("utf-8")
    relative = text.replace(f"{tmp_path.parent}{os.sep}", f"..{os.sep}")
    assert relative != text
    config.write_text(relative, encoding="utf-8")
    S3RouterASRTask.main(cmd=command)
    assert (tmp_path / "exp" / "2epoch.pth").exists()


def test_resume_of_understanding_with_transcripts(experiment, corpus, tmp_path):
    """ESPnet's SLU copies their tokens and two options into model_conf, where a run that goes on does not have them yet."""
    tokens = tmp_path / "words.txt"
    shutil.copy(corpus / "tokens.txt", tokens)
    more = {"transcript_token_list": str(tokens), "encoder": "rnn", "batch_type": "sorted"}
    more |= {"encoder_conf": {"hidden_size": 8, "num_layers": 1}}
    for epochs in (1, 2):
        S3RouterSLUTask.main(cmd=experiment(max_epoch=epochs, resume=True, **more))
    assert (tmp_path / "exp" / "2epoch.pth").exists()
    tokens.write_text("<blank>\n<unk>\nB\nA\n<sos/eos>\n", encoding="utf-8")
    with pytest.raises(InputError, match="token 2 was 'A', is 'B' now. Resume with the transcript_token_list of then"):
        S3RouterSLUTask.main(cmd=experiment(max_epoch=3, resume=True, **more))


def test_understanding_is_pruned_decoded_and_baked(experiment, tmp_path):
    """As recognition is: through ESPnet's own class, and as a plain model."""
    from espnet2.bin.slu_inference import Speech2Understand

    from espnet_s3router.cli.main import main

    encoder = {"encoder": "rnn", "encoder_conf": {"hidden_size": 8, "num_layers": 1}, "batch_type": "sorted"}
    S3RouterSLUTask.main(cmd=experiment(max_epoch=1, mask_conf={"method": "mpi", "sparsity": 0.5}, **encoder))
    made, baked = tmp_path / "exp", tmp_path / "baked"
    assert main(["bake", str(made / "config.yaml"), str(made / "1epoch.pth"), str(baked), "--task", "slu"]) == 0
    files = [(made / "config.yaml", made / "1epoch.pth"), (baked / "config.yaml", baked / "model.pth")]
    ours, plain = (Speech2Understand(*map(str, pair), ctc_weight=1.0, beam_size=2, token_type="char") for pair in files)
    assert type(plain.asr_model.frontend).__name__ == "S3prlFrontend"
    with torch.no_grad():
        encoded = [model.asr_model.encode(BATCH.waves, BATCH.lengths)[0] for model in (ours, plain)]
    assert torch.equal(*encoded)
    (text, *_), (text_of_plain, *_) = ours(BATCH.waves[0])[0], plain(BATCH.waves[0])[0]
    assert text == text_of_plain
    assert sum(int((p == 0).sum()) for p in ours.asr_model.frontend.attached.sites.values()) > 0


def test_decoding_with_a_checkpoint_of_another_run_is_refused(experiment, tmp_path):
    """The files of two experiments mixed up (hazard 6), through ESPnet's own loader."""
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "all", max_epoch=1))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "ff", max_epoch=1, mask_conf={"method": "routing", "sparsity": 0.2}))
    from espnet2.tasks.asr import ASRTask

    with pytest.raises(InputError, match="lacks 8 of the 13 tensors"):
        ASRTask.build_model_from_file(tmp_path / "all" / "config.yaml", tmp_path / "ff" / "1epoch.pth", "cpu")


@pytest.mark.parametrize("strategy", ["adapter_only", "required_grad_only"])
def test_files_that_could_not_be_loaded_are_not_written(strategy, experiment, tmp_path):
    """ESPnet would leave the fingerprint of the base out of them, and the first also the head."""
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
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: mask_conf: ")


def test_configuration_written_down_is_complete(experiment, tmp_path):
    """Another person must be able to rebuild the model from config.yaml and the model file alone."""
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1, frontend={"layerdrop": 0.2}))
    config = yaml.safe_load((tmp_path / "exp" / "config.yaml").read_text())
    assert config["frontend"] == "masked_upstream" and config["frontend_conf"]["layerdrop"] == 0.2
    assert config["frontend_conf"]["mask_conf"]["sparsity"] == 0.2


def test_registered_with_every_task():
    """ESPnet's Speech2Text and Speech2Understand hard-code their task: the frontend must be known there too."""
    import espnet2.tasks.asr
    import espnet2.tasks.slu

    from espnet_s3router.plugin import register
    from espnet_s3router.plugin.frontend import MaskedUpstream

    register()  # a second time, as a spawned worker may
    for module in (espnet2.tasks.asr, espnet2.tasks.slu):
        assert module.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_registered_with_espnet3():
    """Its copy of the task has choices of its own."""
    task = pytest.importorskip("espnet3.systems.esp2_asr.task", exc_type=ImportError)
    from espnet_s3router.plugin.frontend import MaskedUpstream

    assert task.frontend_choices in task.ASRTask.class_choices_list
    assert task.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_registered_where_espnet3_could_be_imported(monkeypatch):
    """A stand-in for it, which most versions of ESPnet lack."""
    from espnet2.asr.frontend.abs_frontend import AbsFrontend
    from espnet2.train.class_choices import ClassChoices

    from espnet_s3router.plugin import register
    from espnet_s3router.plugin.frontend import MaskedUpstream

    task = ModuleType("espnet3.systems.esp2_asr.task")
    task.frontend_choices = ClassChoices("frontend", classes={}, type_check=AbsFrontend)
    monkeypatch.setitem(sys.modules, task.__name__, task)
    register()
    assert task.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_adapters_of_espnet_are_saved_and_loaded(experiment, tmp_path):
    """With the weights that they are merged into whenever the model is evaluated; resumed in between."""
    more = {"use_adapter": True, "adapter": "lora", "adapter_conf": {"rank": 2, "target_modules": ["q_proj"]}}
    more |= {"mask_conf": {"method": "head_only"}, "frontend": {"dropout": "upstream"}, "save_strategy": "all"}
    for epochs in (1, 2):
        S3RouterASRTask.main(cmd=experiment(max_epoch=epochs, resume=True, **more))
    out = tmp_path / "exp"
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", out / "2epoch.pth", "cpu")
    saved, loaded = torch.load(out / "2epoch.pth"), model.state_dict()
    assert sum("lora_" in key for key in saved) == 2 * 2
    assert all(torch.equal(loaded[key], tensor) for key, tensor in saved.items())
