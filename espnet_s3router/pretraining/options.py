"""The options of the pretraining recipes (TEMPLATE/ssl1/ssl.sh), their checks, and what follows from them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.script_options import ScriptOptions, Words, module_instead, print_and_exit, require, shown

SHORT_HOURS = 0.5
"""Below this ``max_hours`` a recipe only shows that it works: little audio, one short epoch and one seed downstream."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingOptions(ScriptOptions):
    """What one call of a pretraining recipe asks for."""

    # Stages: 1 recordings, 2 audio store, 3 targets and training by iteration, 4 curves, 5 model and card, 6 downstream
    stage: int = 1
    """first stage"""
    stop_stage: int = 6
    """last stage; numbers above 6 are allowed"""
    python: str = "python3"
    """Python interpreter"""
    # Data
    local_data: Words = ()
    """Python module of local/ that fetches recordings, with its options"""
    data_dirs: Words = ()
    """Kaldi-style folders to pretrain on; only wav.scp is read"""
    extra_data_dirs: Words = ()
    """further folders, of your own"""
    held_out_dirs: Words = ()
    """folders of recordings to evaluate on; none of them may be among the others"""
    phones: str = ""
    """folder of Festival label files of some recordings, to compare the clusters with"""
    # Training
    config: str = ""
    """YAML file: model, masking, batches and optimiser"""
    updates: tuple[int, ...] = (3000, 4000)
    """optimiser steps of each iteration; there are as many iterations as numbers"""
    clusters: tuple[int, ...] = (100, 200)
    """k-means clusters to predict in each iteration: of MFCCs, then of hidden states of the iteration before"""
    layer: int = 4
    """Transformer layer of those hidden states; 1 is the lowest"""
    max_hours: float = 0
    """hours of training in all iterations together, which shortens the schedules; 0: no limit"""
    ngpu: int = 0
    """1: on a GPU"""
    card_notes: str = ""
    """Markdown file that ends the model card"""
    # Downstream
    eval_recipe: str = "../../asterisk/asr1"
    """folder of the recipe that evaluates the model"""
    eval_methods: str = "head_only finetune routing"
    """methods of that recipe"""
    eval_sparsities: str = "0.2"
    """its sparsities"""
    eval_seeds: str = ""
    """its seeds; empty: 0 1 2, or 0 with max_hours below 0.5"""
    eval_args: Words = ("--model", "hubert_mini")
    """further options of that recipe"""
    eval_dev: str = "dev_en"
    """its validation set"""
    eval_test: str = "test_en"
    """its test set"""
    baseline: str = "s3router_hubert_mini"
    """upstream to compare with, beside random weights and log-mel features"""
    expdir: str = "exp"
    """folder of the experiments"""
    dumpdir: str = ""
    """folder of the audio store; empty: dump, or dump below expdir with max_hours below 0.5"""
    results_md: str = ""
    """RESULTS.md to write"""
    check_corpus: bool = False
    """true: look for the recordings, say what is there and what stage 1 would download, and stop"""

    @property
    def short(self) -> bool:
        """True if this call only shows that the recipe works."""
        return 0 < self.max_hours < SHORT_HOURS

    def hours_of_each(self) -> list[float]:
        """``max_hours`` shared out over the iterations by their updates."""
        return [self.max_hours * updates / sum(self.updates) for updates in self.updates]

    def corpus_check(self) -> str:
        """See ``ScriptOptions``. Without a module of local/, the user's own folders must have a wav.scp."""
        if self.local_data:
            return module_instead(self.python, [*self.local_data, "--check_corpus"])
        lists = [Path(folder, "wav.scp") for folder in (*self.data_dirs, *self.extra_data_dirs, *self.held_out_dirs)]
        missing = [str(path) for path in lists if not path.is_file()]
        require(not missing, f"there is no {', '.join(missing)}: expected a wav.scp in every folder of recordings")
        return print_and_exit(f"there are {', '.join(map(str, lists))}; the recordings in them were not opened")

    def for_bash(self) -> Mapping[str, Any]:
        """What ssl.sh needs."""
        names = [field.name for field in dataclasses.fields(self)]
        numbers = range(1, len(self.updates) + 1)
        return {name: getattr(self, name) for name in names} | {
            "short": self.short,
            "dumpdir": self.dumpdir or (f"{self.expdir}/dump" if self.short else "dump"),
            "eval_seeds": self.eval_seeds or ("0" if self.short else "0 1 2"),
            "hours": self.hours_of_each(),
            "iterations": [f"{self.expdir}/hubert{number}" for number in numbers],
            "labels": [f"{self.expdir}/labels{number}" for number in numbers],
            "device": "cuda" if self.ngpu else "cpu",
        }

    def check(self) -> None:
        """Raises InputError for the first option that is wrong, before anything runs."""
        for name in ("stage", "stop_stage", "layer", "ngpu"):
            require(getattr(self, name) >= 0, f"--{name} is '{getattr(self, name)}', expected a number")
        given = {"updates": self.updates, "clusters": self.clusters}
        texts = {name: f"--{name} is {shown(numbers)!r}" for name, numbers in given.items()}
        message = f"{' and '.join(texts.values())}, expected as many numbers in both, one for each iteration"
        require(self.updates and len(self.updates) == len(self.clusters), message)
        message = f"--max_hours is '{self.max_hours}', expected a number of hours, 0 for no limit"
        require(0 <= self.max_hours < float("inf"), message)
        for name, least in (("updates", 1), ("clusters", 2)):
            require(min(given[name]) >= least, f"{texts[name]}, expected numbers from {least}")
        require(Path(self.config).is_file(), f"--config is {self.config!r}, and there is no such file")
        message = f"--card_notes is {self.card_notes!r}, and there is no such file"
        require(not self.card_notes or Path(self.card_notes).is_file(), message)
        message = f"--phones is {self.phones!r}, and there is no such folder; without phone labels: --phones ''"
        require(not self.phones or self.local_data or Path(self.phones).is_dir(), message)
        require(self.ngpu <= 1, f"--ngpu is {self.ngpu}, expected 0 or 1: pretraining uses one GPU")


if __name__ == "__main__":
    raise SystemExit(PretrainingOptions.main())
