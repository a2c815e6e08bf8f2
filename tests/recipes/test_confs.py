"""Every configuration of every recipe resolves, and ESPnet builds it in a dry run, as in ESPnet's own CI."""

from itertools import product
from pathlib import Path

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import sweep
from espnet_s3router.experiments.grid import specs_of
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.specification import store
from espnet_s3router.files import read_yaml
from espnet_s3router.results.rows import read_rows

EGS = Path(__file__).resolve().parents[2] / "egs2/s3router"
FILES = sorted(EGS.glob("*/*/conf/methods.yaml"))  # of recipes that train with ESPnet
RECIPES = {path.parents[1].relative_to(EGS).as_posix(): path.parent for path in FILES}
LIBRILIGHT = RECIPES["librilight/asr1"]
SPLITS = ("10min", "1h", "10h", "100h")
COMMONVOICE = RECIPES["commonvoice/multi1"]
TOY_OF_XLSR = {"xls_r_300m": "wav2vec2_large", "xlsr_53": "wav2vec2_large", "hubert_mini": "hf_hubert"}
TOY_OF = {
    "wav2vec2_base": "wav2vec2",
    "wav2vec2_large": "wav2vec2_large",
    "hubert_base": "hubert",
    "data2vec_base": "data2vec",
}
METHODS = {"head_only", "finetune", "routing", "random", "magnitude", "lora", "houlsby", "bitfit"}
PRUNING = {"routing_prune", "parp", "parp_p", "omp", "imp", "mpi", "rp"}
AUTHORS = {"parp_authors", "parp_p_authors", "imp_authors"}
PRUNE1 = [name for name in RECIPES if name.endswith("/prune1")]
UPDATES = {"10min": 13000, "1h": 15000, "10h": 20000, "100h": 80000}
MAY_DIFFER = {
    *(("frontend_conf", "mask_conf"), ("frontend_conf", "distill")),
    *(("optim_conf", "lr"), ("scheduler_conf", "rounds")),
}
OF_ESPNETS_ADAPTERS = {"use_adapter", "adapter", "adapter_conf", "save_strategy"}  # which need the upstream in training mode

pytestmark = pytest.mark.filterwarnings("ignore")  # ESPnet and s3prl, in this process


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    from toys import TOYS

    names = sorted({*TOY_OF.values(), *TOY_OF_XLSR.values(), "hf_whisper"})
    return {name: TOYS[name](tmp_path_factory.mktemp(name)) for name in names}


DATASETS = {"recipe": "any", "train_set": "t", "valid_set": "v", "test_sets": ("v",)}


def grid(*files, methods=None, source=None, conf=None, over=()):
    """The runs of configuration files, resolved as the stages do; ``over``: further methods files. In a recipe that prunes
    (stage 16) the dense model is missing: ESPnet builds without it."""
    methods = methods or list(read_yaml(conf / "methods.yaml"))
    given = DATASETS | {
        "asr_config": tuple(map(str, files)),
        "methods_config": tuple(str(conf / f) for f in ("methods.yaml", *over)),
    }
    if source:
        given |= {"upstream": source["upstream"], "upstream_path": source["path_or_url"]}
    sweeps = {*PRUNING, "omp_units", "omp_continued"} & set(methods)
    if not sweeps or "head_only" in methods:  # the latter trains from the pretrained model, as a grid
        return specs_of(Options(**given, methods=tuple(methods)))
    pruning = tuple(name for name in methods if name != "finetune")
    made = sweep.sweep_of(Options(**given, prune_methods=pruning, sparsities=(0.5,)))
    return [*made.dense_specs, *made.specs]


def dry_run(spec, folder, task="asr"):
    """ESPnet builds the experiment and stops; its messages are errors of ours."""
    from importlib import import_module

    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(dict(spec.config)), encoding="utf-8")
    tokens = folder / "tokens.txt"
    tokens.write_text("<blank>\n<unk>\na\nb\n<sos/eos>\n", encoding="utf-8")
    options = ["--config", str(path), "--output_dir", str(folder / "out"), "--token_list", str(tokens), "--ngpu", "0"]
    options += ["--dry_run", "true", "--iterator_type", "none", "--token_type", "char"]
    import_module(f"espnet_s3router.bin.{task}_train").main(options)


def test_recipes_are_there():
    assert set(RECIPES) >= {"asterisk/asr1", "librilight/asr1", "asterisk/prune1", "librispeech/prune1"}
    assert {path.stem for path in (LIBRILIGHT / "upstream").glob("*.yaml")} == set(TOY_OF)
    assert {path.stem for path in (LIBRILIGHT / "split").glob("*.yaml")} == set(SPLITS)
    assert {path.stem for path in (COMMONVOICE / "upstream").glob("*.yaml")} == set(TOY_OF_XLSR)


def plain(config):
    """The configuration without what methods may change."""
    nested = {key: value for key, value in config.items() if isinstance(value, dict)}
    left = {key: {name: v for name, v in value.items() if (key, name) not in MAY_DIFFER} for key, value in nested.items()}
    return {**config, **left, "scheduler": config["scheduler"].removesuffix("_rounds")}  # the same, round by round


@pytest.mark.parametrize("recipe", RECIPES)
def test_methods_differ_in_their_mask_conf_and_learning_rate_only(recipe):
    conf = RECIPES[recipe]
    specs = grid(conf / "train_asr.yaml", conf=conf)
    expected = PRUNING | {"finetune"} if recipe in PRUNE1 else METHODS
    assert {spec.mask_conf["method"] for spec in specs} >= expected
    for spec in specs:
        config, expected = plain(spec.config), plain(specs[0].config)
        if config.get("use_adapter"):
            config = {key: value for key, value in config.items() if key not in OF_ESPNETS_ADAPTERS}
            config["frontend_conf"]["dropout"] = expected["frontend_conf"]["dropout"]
        assert config == expected, spec.name


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_method_builds(recipe, toys, tmp_path):
    conf = RECIPES[recipe]
    for spec in grid(conf / "train_asr.yaml", conf=conf, source=toys["hf_hubert"]):
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)
        assert not (folder / "out/checkpoint.pth").exists()


def test_librilight_resolves_with_every_split_upstream_and_method():
    for split, upstream in product(SPLITS, TOY_OF):
        files = [LIBRILIGHT / name for name in ("train_asr.yaml", f"split/{split}.yaml", f"upstream/{upstream}.yaml")]
        specs = grid(*files, conf=LIBRILIGHT)
        schedule = specs[0].config["scheduler_conf"]["max_steps"]
        for spec in specs:
            config = spec.config
            updates = config["max_epoch"] * config["num_iters_per_epoch"] // config["accum_grad"]
            assert updates == schedule == UPDATES[split]
            assert plain(config) == plain(specs[0].config)


@pytest.mark.parametrize("upstream", TOY_OF)
@pytest.mark.parametrize("split", SPLITS)
def test_librilight_builds_with_every_split_and_upstream(split, upstream, toys, tmp_path):
    files = [LIBRILIGHT / name for name in ("train_asr.yaml", f"split/{split}.yaml", f"upstream/{upstream}.yaml")]
    (spec,) = grid(*files, methods=["routing"], source=toys[TOY_OF[upstream]], conf=LIBRILIGHT)
    dry_run(spec, tmp_path)


@pytest.mark.parametrize("upstream", TOY_OF_XLSR)
def test_commonvoice_builds_with_every_upstream(upstream, toys, tmp_path):
    """Updates of the schedule are those of the run; every upstream builds with weights and with masks."""
    files = [COMMONVOICE / name for name in ("train_asr.yaml", f"upstream/{upstream}.yaml")]
    for spec in grid(*files, methods=["finetune", "routing"], conf=COMMONVOICE):
        config = spec.config
        updates = config["max_epoch"] * config["num_iters_per_epoch"] // config["accum_grad"]
        assert updates == config["scheduler_conf"]["max_steps"] == (880 if upstream == "hubert_mini" else 13000)
    for spec in grid(*files, methods=["finetune", "routing"], source=toys[TOY_OF_XLSR[upstream]], conf=COMMONVOICE):
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)


@pytest.mark.parametrize("split", SPLITS)
def test_pruning_librispeech_has_the_schedules_of_finetuning_it(split, toys, tmp_path):
    """Updates, rates and masking as in librilight/asr1; how often PARP prunes is its code's, in epochs of the split; every
    method but mpi starts from the dense model of its seed."""
    conf, files = RECIPES["librispeech/prune1"], ("train_asr.yaml", f"split/{split}.yaml", "upstream/wav2vec2_base.yaml")
    over = [f"interval/{split}.yaml"]
    specs = {spec.method: spec for spec in grid(*(conf / name for name in files), conf=conf, over=over)}
    assert specs.keys() == PRUNING | {"finetune", "omp_continued"} | AUTHORS
    (expected,) = grid(*(LIBRILIGHT / name for name in files), methods=["finetune"], conf=LIBRILIGHT)
    for method, spec in specs.items():
        assert plain(spec.config) == plain(expected.config) and spec.config["optim_conf"] == expected.config["optim_conf"]
        if method not in ("finetune", "mpi", "parp_authors", "parp_p_authors"):
            assert spec.mask_conf["start"] == "exp/asr_finetune_seed0/valid.cer_ctc.ave.pth"
    assert specs["mpi"].mask_conf["start"] is None
    assert specs["imp"].mask_conf["updates"] == specs["parp_p"].mask_conf["updates"] == UPDATES[split]
    intervals = {"10min": 50, "1h": 300, "10h": 300, "100h": 3000}
    assert {specs[name].mask_conf["interval"] for name in ("parp", "parp_p")} == {intervals[split]}
    for spec in grid(*(conf / name for name in files), source=toys["wav2vec2"], conf=conf, over=over):
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)


def test_the_quick_sweep_is_the_sweep_in_small(tmp_path):
    conf = RECIPES["asterisk/prune1"]
    whole = grid(conf / "train_asr.yaml", conf / "prune.yaml", conf=conf)
    for spec in whole:
        updates = 360 if spec.mask_conf.get("start") else 880  # what begins from the pretrained model
        assert updates == spec.config["max_epoch"] * spec.config["num_iters_per_epoch"]
        assert updates == spec.config["scheduler_conf"]["max_steps"]
    quick = grid(conf / "train_asr.yaml", conf / "quick/train_asr.yaml", conf=conf, over=["quick/methods.yaml"])
    assert [spec.name for spec in quick] == [spec.name for spec in whole]
    for spec, model in zip(quick, whole):
        config = spec.config
        updates = config["max_epoch"] * config["num_iters_per_epoch"]
        assert updates == config["scheduler_conf"]["max_steps"]
        assert updates == (60 if spec.mask_conf.get("start") else 350)
        assert spec.mask_conf.get("updates", updates) == updates
        share = 60 / 360 if spec.mask_conf.get("start") else 350 / 880
        intervals = [one.mask_conf.get("interval", 1) for one in (spec, model)]
        assert intervals[0] == 1 or intervals[0] / intervals[1] == pytest.approx(share, rel=0.1)


def test_pruning_builds_on_whisper(toys, tmp_path):
    conf = RECIPES["asterisk/prune1"]
    for spec in grid(conf / "train_asr.yaml", conf / "upstream/whisper_tiny_en.yaml", source=toys["hf_whisper"], conf=conf):
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)


def test_asterisk_with_another_upstream(toys, tmp_path):
    """--model of its run.sh: hubert_mini says what conf/train_asr.yaml says; Whisper differs in the upstream and the rates
    alone, and it builds with every method."""
    conf = RECIPES["asterisk/asr1"]
    files = {name: conf / f"upstream/{name}.yaml" for name in ("hubert_mini", "whisper_tiny_en")}
    assert set(files.values()) == set((conf / "upstream").glob("*.yaml"))
    (plain_spec,) = grid(conf / "train_asr.yaml", methods=["routing"], conf=conf)
    (default,) = grid(conf / "train_asr.yaml", files["hubert_mini"], methods=["routing"], conf=conf)
    assert default.variant == plain_spec.variant and default.upstream == "s3router_hubert_mini"
    (whisper,) = grid(conf / "train_asr.yaml", files["whisper_tiny_en"], methods=["routing"], conf=conf)
    assert whisper.upstream == "hf_whisper_custom/whisper_tiny_en"
    assert whisper.config["frontend_conf"].pop("frontend_conf") == {
        "upstream": "hf_whisper_custom", "path_or_url": "downloads/whisper_tiny_en", "normalize": False
    }  # fmt: skip
    del default.config["frontend_conf"]["frontend_conf"]
    assert whisper.config == default.config
    over = ["methods/whisper_tiny_en.yaml"]
    for spec in grid(conf / "train_asr.yaml", files["whisper_tiny_en"], source=toys["hf_whisper"], conf=conf, over=over):
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)


def test_an_upstream_by_name_does_not_get_the_path_of_another():
    conf = RECIPES["asterisk/asr1"]
    files = tuple(str(conf / name) for name in ("train_asr.yaml", "upstream/whisper_tiny_en.yaml"))
    (spec,) = specs_of(Options(**DATASETS, upstream="wav2vec2_base_960", asr_config=files))
    assert spec.config["frontend_conf"]["frontend_conf"]["path_or_url"] is None and spec.upstream == "wav2vec2_base_960"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "whisper"], ["no conf/upstream/whisper.yaml", "whisper_tiny_en.yaml"]),
        (["--model"], ["--model needs a value"]),
        (["--full", "--spasity", "0.1"], ["unknown option --spasity"]),
        (["--spasity", "0.1", "--full"], ["unknown option --spasity"]),
    ],
)
def test_options_of_asterisk(recipes, options, words):
    done = recipes.run("./run.sh", *options, check=False)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words)


def options_of(command):
    """The options that a command of experiments was given."""
    return Options.read(command[command.index("--options") + 1])


def test_paths_with_spaces_stay_whole(recipes, commands):
    """And commands that are one option."""
    with (recipes.root / "egs2/s3router/TEMPLATE/router1/cmd.sh").open("a", encoding="utf-8") as file:
        file.write('train_cmd="slurm.pl --mem 4G"\n')
    (recipes.root / "my model.pth").touch()
    (sounds := recipes.root / "my sounds").mkdir()
    given = {"expdir": "my exp", "cluster_config": "my slurm.yaml", "pretrained_model": str(recipes.root / "my model.pth")}
    given |= {"dumpdir": "my dump", "upstream_path": "my upstream"}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    made = commands("asterisk/asr1", *words, "--cluster", "slurm", "--upstream", "x", ASTERISK=str(sounds))
    by_name = {command[1].rpartition(".")[2]: command for command in made}
    assert by_name["asterisk"][-2:] == ["--sounds_dir", str(sounds)]
    for name in ("grid", "report"):
        options = options_of(by_name[name])
        assert {key: getattr(options, key) for key in given} == given
        assert options.train_cmd == "slurm.pl --mem 4G" and options.test_sets == ("dev_en", "test_en")


def test_the_options_file_is_temporary(recipes, commands, tmp_path):
    """Two calls at a time have one each, and none stays."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    commands("asterisk/asr1", TMPDIR=str(folder))
    assert list(folder.iterdir()) == []


def test_paths_of_librispeech_with_spaces_stay_whole(commands, tmp_path):
    folders = {"LIBRISPEECH": tmp_path / "my libri", "LIBRILIGHT_LIMITED": tmp_path / "it's light"}
    for folder in folders.values():
        folder.mkdir()
    environment = {name: str(folder) for name, folder in folders.items()}
    (command,) = commands("librilight/asr1", "--stop_stage", "1", **environment)
    assert [command[command.index("--librispeech") + 1], command[-1]] == list(map(str, folders.values()))


def test_commands_of_the_data_stages(recipes, commands):
    """The validation set filtered for training and whole for decoding; symbols that are no words known everywhere."""
    symbols = ["--nlsyms_txt", "conf/symbols"]
    (recipes.here / symbols[1]).touch()
    made = commands("asterisk/asr1", *symbols, "--stage", "4")
    filters = [command[4:] for command in made if "filter" in command]
    folders = ("train_10min_en", "dev_en", "whole/dev_en", "test_en")
    assert [command[0] for command in filters] == [f"dump/raw/{name}" for name in folders]
    assert ["1e9" in command for command in filters] == [False, False, True, True]
    assert [symbols[1] in command for command in filters] == [True, True, False, False]
    frames, check, tokens, grid, report = (command for command in made if "filter" not in command)
    assert symbols[1] in tokens
    assert {options_of(command).nlsyms_txt for command in (check, grid, report)} == {symbols[1]}


@pytest.mark.parametrize("recipe", ["asterisk/asr1", "mboshi/asr1"])
def test_the_curve_of_error_against_bytes(commands, recipes, monkeypatch, tmp_path, recipe):
    """Rows of several sizes, each with two rates; BitDelta starts from the models that the first grid finetunes."""
    made = commands(recipe, "--bytes", "--stage", "11", MBOSHI=str(tmp_path))
    monkeypatch.chdir(recipes.here)
    grids = [specs_of(options_of(c).for_grid()) for c in made if c[1].endswith(".grid")]
    assert len(grids) == len([c for c in made if c[1].endswith(".deploy")]) == 5
    finetune = next(spec for spec in grids[0] if spec.method == "finetune")
    (start,) = {spec.mask_conf["start"] for spec in grids[-1]}
    assert start == f"exp/{finetune.name}/valid.cer_ctc.ave.pth"
    for specs in grids[2:]:
        rates = {
            method: len({s.config["optim_conf"]["lr"] for s in specs if s.method == method}) for method in methods_of(specs)
        }
        assert set(rates.values()) == {2}
    assert {(s.method, s.mask_conf["sparsity"]) for s in grids[2]} == {
        ("routing_of25", 0.05), ("routing_of10", 0.03), ("routing_of5", 0.02), ("routing_of2", 0.01)
    }  # fmt: skip


def methods_of(specs):
    """The rows of the methods file that are run."""
    return {spec.method for spec in specs}


@pytest.fixture
def sweeps(recipes, commands, tmp_path, monkeypatch):
    """sweeps(recipe, *options) -> the sweep that the run.sh of a recipe starts in stage 16."""
    folders = {name: str(tmp_path) for name in ("LIBRISPEECH", "LIBRILIGHT_LIMITED")}

    def call(recipe, *options):
        (command,) = commands(recipe, "--stage", "16", *options, **folders)
        monkeypatch.chdir(recipes.here)
        assert command[:2] == ["-m", sweep.__name__]
        return sweep.sweep_of(options_of(command).for_sweep())

    return call


def variants(runs):
    """(method, sparsity) -> variants."""
    found = {}
    for method, sparsity, variant in runs:
        found.setdefault((method, sparsity), set()).add(variant)
    return found


def assert_as_committed(specs, path):
    """The configurations are still those of the committed results, where these hold the same method and sparsity."""
    made = variants((spec.method, spec.mask_conf.get("sparsity"), spec.variant) for spec in specs)
    committed = variants((row.method, row.sparsity, row.variant) for row in read_rows(path))
    shared = made.keys() & committed.keys()
    assert len(shared) >= 2 and all(made[key] & committed[key] for key in shared), path


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (("--model", "whisper_tiny_en"), "whisper_tiny_en"),
        (("--model", "hubert_mini"), "hubert_mini"),
        (("--quick",), "quick/whisper_tiny_en"),
    ],
)
def test_variants_of_committed_sweeps(sweeps, recipes, options, rows):
    found = sweeps("asterisk/prune1", *options)
    for spec in found.dense_specs:
        store(spec, found.dense[spec.config["seed"]].parent)
    assert_as_committed([*found.dense_specs, *found.specs], recipes.here / f"results/{rows}.tsv")


@pytest.mark.parametrize("model", ["whisper_tiny_en", "hubert_mini"])
def test_variants_of_the_committed_main_job(commands, recipes, monkeypatch, model):
    made = commands("asterisk/asr1", "--model", model, "--stage", "11")
    monkeypatch.chdir(recipes.here)
    assert_as_committed(specs_of(options_of(made[0]).for_grid()), recipes.here / f"results/{model}.tsv")


def runs(found):
    """(method, sparsity, rate, seed) of every run of a sweep."""
    return [(s.method, s.mask_conf["sparsity"], s.config["optim_conf"]["lr"], s.config["seed"]) for s in found.specs]


@pytest.mark.parametrize("model", ["whisper_tiny_en", "hubert_mini"])
def test_the_whole_grid_of_pruning_on_asterisk(sweeps, model):
    found = sweeps("asterisk/prune1", "--model", model)
    rates, seeds, control = (3e-4, 1e-3), (0, 1, 2), "omp_continued"
    expected = product(PRUNING | {"parp_remask"}, (0.1, 0.3, 0.5, 0.7, 0.8), rates, seeds)
    assert sorted(runs(found)) == sorted([*expected, *product([control], [0.0], rates, seeds)])
    assert len({(spec.name, spec.variant) for spec in found.specs}) == len(found.specs) == (8 * 5 + 1) * 2 * 3
    assert list(found.dense) == [spec.config["seed"] for spec in found.dense_specs] == [0, 1, 2]


@pytest.mark.parametrize("split", SPLITS)
def test_the_whole_grid_of_pruning_on_librispeech(sweeps, split):
    found = sweeps("librispeech/prune1", "--split", split)
    sparsities = [number / 10 for number in range(1, 9)]
    assert {run[:2] for run in runs(found)} == {*product(PRUNING, sparsities), ("omp_continued", 0.0)}
    assert len({(spec.name, spec.variant) for spec in found.specs}) == len(found.specs) == 7 * 8 + 1
    assert list(found.dense) == [0] and len(found.dense_specs) == 1


@pytest.mark.parametrize("recipe", PRUNE1)
def test_a_misspelt_method_of_a_grid(recipe, recipes, sweeps):
    run = recipes.root / "egs2/s3router" / recipe / "run.sh"
    text = run.read_text("utf-8")
    run.write_text(text.replace("imp mpi rp", "imp mpi rq"), encoding="utf-8")
    with pytest.raises(InputError, match="method 'rq' is not in the methods file"):
        sweeps(recipe)


SLU = """
frontend: masked_upstream
frontend_conf:
    mask_conf: {method: routing, sparsity: 0.2, targets: all}
encoder: transformer
encoder_conf: {output_size: 16, attention_heads: 2, linear_units: 32, num_blocks: 1, input_layer: linear}
decoder: transformer
decoder_conf: {attention_heads: 2, linear_units: 32, num_blocks: 1}
model_conf: {ctc_weight: 0.3}
specaug: null
normalize: null
optim: adam
optim_conf: {lr: 0.01, head_lr: 0.001}
"""


@pytest.mark.parametrize("target", ["intent", "transcript", "transformer", "text_model"])
def test_every_target_of_fsc_builds(target, toys, tmp_path):
    """With masks. ESPnet's SLU task builds transformer and text_model, its ASR task the others."""
    from toy_text_models import write_text_model

    conf = RECIPES["fsc/slu1"]
    assert {path.stem for path in (conf / "target").glob("*.yaml")} == {"intent", "transcript", "transformer", "text_model"}
    by_slu_task = target in ("transformer", "text_model")
    files = ("train_asr.yaml", "split/10h.yaml", f"target/{target}.yaml", "upstream/hubert_base.yaml")
    options = Options(
        **DATASETS,
        asr_config=tuple(str(conf / name) for name in files),
        methods_config=(str(conf / "methods.yaml"),),
        methods=("routing",),
        upstream=toys["hubert"]["upstream"],
        upstream_path=toys["hubert"]["path_or_url"],
        inference_asr_model=f"valid.{'acc' if by_slu_task else 'cer_ctc'}.ave.pth",
    )
    (spec,) = specs_of(options)
    if target == "text_model":
        spec.config["postencoder_conf"]["model_name_or_path"] = str(write_text_model(tmp_path / "bert", "Bert"))
    dry_run(spec, tmp_path, "slu" if by_slu_task else "asr")


def test_slu_builds_and_takes_a_step(toys, tmp_path):
    import torch
    from toys import speech

    from espnet_s3router.experiments.specification import Spec, merge
    from espnet_s3router.plugin.training.task import S3RouterSLUTask

    config = merge(yaml.safe_load(SLU), {"frontend_conf": {"frontend_conf": toys["hf_hubert"]}})
    dry_run(Spec("slu", config), tmp_path, "slu")
    (path := tmp_path / "slu.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    options = ["--config", str(path), "--output_dir", str(tmp_path / "none"), "--dry_run", "true"]
    options += ["--token_list", str(tmp_path / "tokens.txt"), "--token_type", "word"]
    args = S3RouterSLUTask.get_parser().parse_args(options)
    model = S3RouterSLUTask.build_model(args)
    (optimizer,) = S3RouterSLUTask.build_optimizers(args, model)
    frontend = model.frontend
    weights = {name: p.clone() for name, p in frontend.upstream.named_parameters() if not p.requires_grad}
    scores = {name: masked.scores.detach().clone() for name, masked in frontend.attached.masks.items()}
    made, text = speech(12000, 8000), torch.tensor([[2, 3, 2], [3, 2, -1]])
    loss, _, _ = model(made.waves, made.lengths, text, torch.tensor([3, 2]))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss) and scores and weights
    after = dict(frontend.upstream.named_parameters())
    assert all(torch.equal(after[name], before) for name, before in weights.items())
    moved = [not torch.equal(masked.scores, scores[name]) for name, masked in frontend.attached.masks.items()]
    assert all(moved)
