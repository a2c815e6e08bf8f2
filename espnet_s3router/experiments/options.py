"""The options of the recipes with ESPnet's stages (TEMPLATE/router1/router.sh), their checks, and what follows from them."""

import dataclasses
import glob
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.data.tasks import SLU
from espnet_s3router.experiments.data_options import TASKS, DataOptions
from espnet_s3router.exported.libraries import OLDEST, need
from espnet_s3router.script_options import Words, from_environment, module_instead, require, shown

NOT_BUILT = {18: "analyse"}
PACK, UPLOAD, PRUNE, DEPLOY = LAST_STAGES = (14, 15, 16, 17)
"""The stages after 13 that are built."""
PACK_KINDS, PACK_BASES = ("auto", "routes", "baked", "experiment"), ("auto", "inside", "name")
EXPORT_KINDS = ("fp32", "int8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(DataOptions):
    """What one call of a recipe asks for."""

    # Stages: 1 data, 2 speed, 3 audio, 4 filter, 5 tokens, 10 stats, 11 train, 12 decode, 13 score, 14 pack to 17 route
    stage: int = 1
    """first stage"""
    stop_stage: int = 13
    """last stage"""
    skip_data_prep: bool = False
    """skip stages 1 to 5"""
    skip_train: bool = False
    """skip stages 10 and 11"""
    skip_eval: bool = False
    """skip stages 12 and 13"""
    # Machines
    ngpu: int = 0
    """GPUs of one training run"""
    num_nodes: int = 1
    """nodes of one training run"""
    nj: int = 2
    """threads of data preparation"""
    inference_nj: int = 1
    """decoding processes of one run"""
    gpu_inference: str = ""
    """true or false; empty: true if training has a GPU"""
    parallel: int = 2
    """runs at a time: workers on this machine, jobs of SLURM"""
    threads: int = 0
    """threads of one run; 0: the cores of the machine or job, shared out"""
    cluster: str = "local"
    """local, slurm, or the address of a Dask scheduler (tcp://host:8786)"""
    cluster_config: str = ""
    """YAML file with options of dask_jobqueue.SLURMCluster; an example is slurm.yaml beside router.sh"""
    cluster_timeout: float = 3600
    """seconds to wait for the first worker of a cluster"""
    python: str = "python3"
    """Python interpreter"""
    train_cmd: str = from_environment("train_cmd", "run.pl")
    """command of espnet2.bin.launch, set in cmd.sh"""
    # Training
    asr_config: Words = ("conf/train_asr.yaml",)
    """training configurations; later ones change earlier ones"""
    asr_args: Words = ()
    """"KEY=VALUE ..." that change them, with dotted keys"""
    espnet_task: str = "asr"
    """asr or slu: the task of ESPnet that trains and decodes"""
    asr_tag: str = ""
    """part of the name of every experiment folder"""
    asr_stats_dir: str = ""
    """folder of the statistics; empty: below expdir"""
    pretrained_model: str = ""
    """start weights, as --init_param of ESPnet: FILE or FILE:from:to:without"""
    methods_config: Words = ()
    """YAML files with one row per method; later ones change earlier ones"""
    methods: Words = ()
    """rows of methods_config to train; empty: asr_config itself is the experiment"""
    sparsities: tuple[float, ...] = ()
    """sparsities of methods with masks; empty: the value in the configuration"""
    lrs: tuple[float, ...] = ()
    """learning rates; empty: the value in the configuration"""
    seeds: tuple[int, ...] = (0,)
    """seeds"""
    upstream: str = ""
    """upstream instead of the one in the configuration"""
    upstream_path: str = ""
    """its path_or_url, with --upstream"""
    # Pruning (stage 16)
    prune_methods: Words = ()
    """rows of methods_config, each run with all sparsities, lrs and seeds"""
    dense_method: str = "finetune"
    """row of methods_config that trains the dense models that pruning starts from, one per seed"""
    control_method: str = ""
    """row of methods_config to run at sparsity 0 as well: the effect of further training without pruning"""
    tune_on_first_seed: bool = False
    """true: all lrs with the first seed; the other seeds with the best rate on valid_set at each sparsity"""
    dense_exp: str = ""
    """folder of trained dense models to use instead, such as ../asr1/exp/asr_finetune_seed{seed}"""
    skip_committed: bool = False
    """true: runs whose rows are in committed_results count as finished"""
    committed_results: Words = ("results/*.tsv",)
    """results files"""
    # Route files (stage 17)
    route_language: str = ""
    """language of the routes, which names their files; empty: lang, or the name of the experiment if lang is noinfo"""
    route_utterances: int = 20
    """utterances of valid_set on which routes and baked models are compared with the trained model"""
    licence: str = ""
    """licence of the routes, such as CC0-1.0"""
    bake: bool = False
    """true: bake the runs whose method has no route, for ESPnet without this package"""
    export: Words = ()
    """models in ONNX of every run: fp32, int8 or both"""
    export_utterances: int = 0
    """utterances of valid_set on which models in ONNX are compared, and int8 is judged; 0: all"""
    export_accept_loss: bool = False
    """true: write int8 models, too, whose error rates on valid_set are more than 0.5 points above those of the run"""
    routes_dir: str = ""
    """folder that gets the route of the run that is best on valid_set, named by its language"""
    routes_method: str = ""
    """row of methods_config whose best run that is; empty: the best run of all"""
    # Packing (stage 14) and upload (stage 15) of the run that is best on valid_set
    pack_kind: str = "auto"
    """routes, baked (for ESPnet without this package), experiment (any model), or auto: the first that the model allows"""
    pack_file: str = ""
    """zip file or folder to write; empty: expdir/packs/RUN.zip. With routes_dir, all routes there go into it"""
    pack_base: str = "auto"
    """inside: the pack holds the weights of the base; name: it names them; auto: inside if they lie on this machine"""
    base_licence: str = ""
    """licence of the base, instead of what its folder says"""
    hf_repo: str = ""
    """OWNER/NAME on the Hugging Face hub; the token is that of HF_TOKEN"""
    hf_update: bool = False
    """true: add a commit to a repository that exists"""
    hf_dry_run: bool = False
    """true: list what would be uploaded, and send nothing"""
    # Decoding
    inference_tag: str = ""
    """name of the folder of decoded text; empty: the name of inference_config"""
    inference_config: str = "conf/decode_ctc.yaml"
    """decoding configuration"""
    inference_args: Words = ("--ctc_best_path", "true")
    """further options of decoding; empty: ESPnet's beam search, slow on long utterances"""
    inference_asr_model: str = "valid.cer_ctc.ave.pth"
    """model file to decode with"""
    results_md: str = ""
    """RESULTS.md to write"""
    best_rates: str = ""
    """methods_config to write: the learning rate of each method that is best on valid_set"""
    check_corpus: bool = False
    """true: look for the corpus, say what is there and what stage 1 would download, and stop"""
    command: str = from_environment("run_command", "router.sh")
    """the command of this call, for RESULTS.md"""

    # --- what follows from the options

    @property
    def gpu_decoding(self) -> bool:
        """True if runs decode on a GPU."""
        return self.ngpu != 0 if self.gpu_inference == "" else self.gpu_inference == "true"

    @property
    def stats_dir(self) -> str:
        """Folder of the statistics of stage 10."""
        default = f"{self.expdir}/asr_stats_raw_{self.training_set}_{Path(self.token_folder).name}"
        return self.asr_stats_dir or default

    @property
    def decoding_tag(self) -> str:
        """Name of the folder of decoded text, below each experiment folder."""
        return self.inference_tag or Path(self.inference_config).name.removesuffix(".yaml")

    @property
    def experiment_prefix(self) -> str:
        """How the names of experiment folders begin."""
        return f"asr_{self.asr_tag}" if self.asr_tag else "asr"

    @property
    def committed_files(self) -> list[str]:
        """Results files whose runs count as finished; a pattern without a match stays as it is."""
        patterns = self.committed_results if self.skip_committed else ()
        return [path for pattern in patterns for path in sorted(glob.glob(pattern)) or [pattern]]

    def dense_folder(self, seed: int) -> Path:
        """Folder of the given dense model of a seed."""
        return Path(self.dense_exp.replace("{seed}", str(seed)))

    @property
    def prepares_data(self) -> bool:
        """True if any of stages 1 to 5 runs."""
        return not self.skip_data_prep and self.stage <= 5

    @property
    def language(self) -> str:
        """Language of the routes; empty if none is given."""
        return self.route_language or ("" if self.lang == "noinfo" else self.lang)

    @property
    def prunes(self) -> bool:
        """True if stage 16 runs. On the way to stage 17 it is left out where nothing is to be pruned."""
        return self.stage <= PRUNE <= self.stop_stage and (self.stop_stage == PRUNE or bool(self.prune_methods))

    @property
    def packs(self) -> bool:
        """True if stage 14 or 15 runs. On the way to later stages they are left out."""
        return self.stage <= self.stop_stage and self.stop_stage in (PACK, UPLOAD)

    @property
    def has_grid(self) -> bool:
        """True unless the call is about pruning runs alone."""
        return bool(self.methods or not self.prune_methods)

    @property
    def fetches_upstream(self) -> bool:
        """True if stage 1 runs and fetches the upstream."""
        return bool(self.prepares_data and self.stage <= 1 and self.local_upstream)

    @property
    def grid_stages(self) -> range:
        """Those of stages 10 to 13 that run."""
        first, last = 12 if self.skip_train else 10, 11 if self.skip_eval else 13
        return range(max(first, self.stage), min(last, self.stop_stage) + 1)

    def for_grid(self) -> "Options":
        """The options with stages 10 to 13 only, as far as they run."""
        return dataclasses.replace(self, stage=self.grid_stages.start, stop_stage=self.grid_stages.stop - 1)

    def for_sweep(self) -> "Options":
        """The options of the runs of stage 16, which train, decode and score."""
        return dataclasses.replace(self, stage=11, stop_stage=13)

    def corpus_check(self) -> str:
        """See ``ScriptOptions``. Without a module of local/, the user's own data directories are read and checked."""
        if self.local_data:
            return module_instead(self.python, [*self.local_data, *self.local_data_opts, "--check_corpus"])
        datasets = dict.fromkeys((self.train_set, self.valid_set, *self.test_sets))
        words = ["espnet_s3router.data", "validate", "--on_bad", self.on_bad]
        return module_instead(self.python, [*words, *(f"data/{name}" for name in datasets)])

    def for_deployment(self) -> "Options":
        """The options of stage 17, which needs no GPU."""
        return dataclasses.replace(self, stage=DEPLOY, stop_stage=DEPLOY, ngpu=0, gpu_inference="")

    def for_bash(self) -> Mapping[str, Any]:
        """What router.sh needs; ``options_file`` is a new temporary file that holds all options."""
        handle, path = tempfile.mkstemp(prefix="s3router_options_", suffix=".yaml")
        os.close(handle)
        self.write(path)
        plain: tuple[str, ...] = (
            "stage",
            "stop_stage",
            "skip_data_prep",
            "skip_eval",
            "train_set",
            "valid_set",
            "test_sets",
            "expdir",
        )
        plain += ("nj", "fs", "audio_format", "on_bad", "min_wav_duration", "max_wav_duration", "speed_perturb_factors")
        plain += (
            "training_set",
            "raw",
            "token_folder",
            "token_list",
            "nbpe",
            "bpemode",
            "prune_methods",
            "cleaner",
            "understands",
            "intent_alone",
            "symbols_file",
            "prunes",
            "packs",
        )
        return {name: getattr(self, name) for name in plain} | {
            "options_file": path,
            "token_type": self.espnet_token_type,
            # there are at least as many characters as pieces of a sentencepiece model
            "filter_token_type": "word" if self.espnet_token_type == "word" else "char",
            "prepare_data": (*self.local_data, *self.local_data_opts) if self.local_data else (),
            "prepare_upstream": self.local_upstream,
            "test_folders": [self.test_data(name) for name in self.test_sets],
            "symbols": ("--nlsyms_txt", self.symbols_file) if self.symbols_file else (),
            "of_intents": ("--category", SLU) if self.both_tasks else (),
            "own_symbols": ("--nlsyms_txt", self.nlsyms_txt) if self.nlsyms_txt else (),
            "grid_stages": list(self.grid_stages),
        }

    # --- checks

    def check(self) -> None:
        """Raises InputError for the first option that is wrong, before anything runs."""
        self.check_data()
        self._check_files()
        self._check_stages()
        self._check_machines()
        message = f"--upstream_path is {self.upstream_path}, expected --upstream with it: the name in s3prl"
        require(self.upstream or not self.upstream_path, message)
        require(self.espnet_task in TASKS, f"--espnet_task is {self.espnet_task!r}, expected one of {', '.join(TASKS)}")
        if not self.prepares_data:
            self.check_unseen()

    def check_unseen(self) -> None:
        """Raises InputError if the file of unseen utterances is missing, which the tables need after all training."""
        if self.stop_stage < 10 or not self.unseen:
            return
        folder = Path(self.unseen).parent
        require(folder.is_dir(), f"there is no {folder}: run stages 1 to 5 first")
        message = f"--unseen is {self.unseen!r}, and there is no such file: give --unseen '' where your test sets have none"
        require(Path(self.unseen).is_file(), message)

    def _check_files(self) -> None:
        files = {"pretrained_model": [self.pretrained_model.partition(":")[0]], "committed_results": self.committed_files}
        for name, paths in files.items():
            found = all(Path(path).is_file() for path in paths if path)
            require(found, f"--{name} is {shown(getattr(self, name))!r}, and there is no such file")

    def _check_stages(self) -> None:
        listed = ", ".join(f"{stage} ({what})" for stage, what in NOT_BUILT.items())
        for name in ("stage", "stop_stage"):
            number = getattr(self, name)
            require(number >= 0, f"--{name} is '{number}', expected a number")
            message = (
                f"stages {listed} are not built yet: use --stop_stage 13, 14 to pack, 16 to prune or 17 to write route files"
            )
            require(number not in NOT_BUILT, message)
        require(self.stop_stage <= DEPLOY, f"--stop_stage is {self.stop_stage}, expected at most {DEPLOY}")
        hint = f": give --stop_stage {self.stage} too" if self.stage in LAST_STAGES else ""
        message = f"--stage is {self.stage}, after --stop_stage, which is {self.stop_stage}{hint}"
        require(self.stage <= self.stop_stage, message)
        message = (
            f"stage {self.stage} (language models) is not part of these recipes: CTC is decoded without one. Use --stage 10"
        )
        require(not 6 <= self.stage <= 9, message)
        message = f"--route_utterances is {self.route_utterances}, expected at least 1"
        require(self.route_utterances >= 1, f"{message}: routes and smaller models are checked on them")
        if self.prunes:
            self._check_pruning()
        if self.stop_stage == DEPLOY or self.packs:
            self._check_deployment()
        if self.packs:
            self._check_packing()

    def _check_pruning(self) -> None:
        example = "--prune_methods 'parp omp' --sparsities '0.1 0.5 0.8'"
        message = f"stage 16 needs --prune_methods and --sparsities, for example {example}"
        require(self.prune_methods and self.sparsities, message)
        require(
            not self.pretrained_model,
            f"stage 16: --pretrained_model is {self.pretrained_model}, and pruning starts from dense models: give "
            "--dense_exp, or train them from it with stage 11 first",
        )
        message = f"--dense_exp is {self.dense_exp}, expected {{seed}} in it: there are {len(self.seeds)} seeds"
        require("{seed}" in self.dense_exp or not self.dense_exp or len(self.seeds) == 1, message)

    def _check_deployment(self) -> None:
        message = f"--export_utterances is {self.export_utterances}, expected a number of utterances, or 0 for all"
        require(self.export_utterances >= 0, message)
        message = f"--route_language is {self.language!r}, expected a word such as nl: it is the name of a file"
        require(not self.language or re.fullmatch(r"[\w-][\w.-]*", self.language), message)
        unknown = [kind for kind in self.export if kind not in EXPORT_KINDS]
        require(not unknown, f"--export is {' '.join(self.export)}, expected some of {', '.join(EXPORT_KINDS)}")
        for library in OLDEST if self.export else ():
            need(library)
        message = f"--routes_dir is {self.routes_dir}, expected --route_language too: the routes there are named by it"
        require(self.language or not self.routes_dir, message)
        known = [*self.methods, *self.prune_methods]
        message = f"--routes_method is {self.routes_method!r}, expected one of the runs: {', '.join(known)}"
        require(self.routes_method in known or not self.routes_method, message)
        message = f"--routes_method is {self.routes_method}, expected --routes_dir with it"
        require(self.routes_dir or not self.routes_method, message)

    def _check_packing(self) -> None:
        message = f"--pack_kind is {self.pack_kind!r}, expected one of {', '.join(PACK_KINDS)}"
        require(self.pack_kind in PACK_KINDS, message)
        message = f"--pack_base is {self.pack_base!r}, expected one of {', '.join(PACK_BASES)}"
        require(self.pack_base in PACK_BASES, message)
        message = f"stage 15 needs --hf_repo OWNER/NAME, and it is {self.hf_repo!r}"
        require(self.stop_stage != UPLOAD or self.hf_repo.count("/") == 1, message)

    def _check_machines(self) -> None:
        require(self.ngpu >= 0, f"--ngpu is {self.ngpu}, expected a number of GPUs, or 0 to train on the CPU")
        message = f"--gpu_inference is {self.gpu_inference!r}, expected true or false"
        require(self.gpu_inference in ("", "true", "false"), message)
        message = "--gpu_inference is true and --ngpu 0: a run has no GPU to decode on"
        require(self.ngpu or not self.gpu_decoding, message)
        require(self.parallel >= 1, f"--parallel is {self.parallel}, expected at least 1 run at a time")
        message = f"--threads is {self.threads}, expected a number of threads, or 0 to share the cores"
        require(self.threads >= 0, message)
        message = f"--cluster is {self.cluster!r}, expected local, slurm or an address such as tcp://host:8786"
        require(self.cluster in ("local", "slurm") or "://" in self.cluster, message)
        require(
            (self.cluster == "slurm") == bool(self.cluster_config),
            f"--cluster is {self.cluster} and --cluster_config is {self.cluster_config or 'empty'}: expected a YAML file "
            "with slurm (example: egs2/s3router/TEMPLATE/router1/slurm.yaml), and none otherwise",
        )


if __name__ == "__main__":
    raise SystemExit(Options.main())
