"""The options of the recipes on texts (TEMPLATE/text1/text.sh), their checks, and what follows from them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.script_options import (
    ScriptOptions,
    Words,
    from_environment,
    module_instead,
    print_and_exit,
    require,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions(ScriptOptions):
    """What one call of a recipe on texts asks for."""

    # Stages: 1 data, 11 train, decode and score, 13 page
    stage: int = 1
    """first stage"""
    stop_stage: int = 13
    """last stage"""
    python: str = "python3"
    """Python interpreter"""
    # Data
    recipe: str = ""
    """name in the results"""
    local_data: Words = ()
    """Python module of local/ that prepares the corpus, with its options; empty: data directories of your own"""
    train_set: str = "train"
    """training dataset; its text holds an intent and a transcript"""
    valid_set: str = "dev"
    """validation dataset, one of the test sets"""
    test_sets: Words = ("dev", "test")
    """datasets to score"""
    # Training
    model: str = "bert-base-uncased"
    """text model of Hugging Face: a name or a folder, with its tokeniser; BERT, RoBERTa or XLNet"""
    methods_config: str = "conf/text.yaml"
    """YAML file with the mask_conf of each method, and its lr"""
    methods: Words = ("head_only", "finetune", "routing")
    """rows of methods_config to train"""
    sparsities: tuple[float, ...] = (0.1,)
    """sparsities of methods with masks"""
    seeds: tuple[int, ...] = (0,)
    """seeds"""
    epochs: int = 10
    """passes through the training set"""
    batch_size: int = 32
    """texts of one update"""
    lr: float = 5e-5
    """learning rate of scores and weights, where methods_config names none"""
    head_lr: float = 1e-3
    """learning rate of the linear layer that gives the intents"""
    device: str = "cpu"
    """cpu or cuda"""
    expdir: str = "exp"
    """folder of the experiments"""
    results_md: str = ""
    """RESULTS.md to write"""
    check_corpus: bool = False
    """true: look for the corpus, say what is there, and stop"""
    command: str = from_environment("run_command", "text.sh")
    """the command of this call, for RESULTS.md"""

    @property
    def held_out_sets(self) -> list[str]:
        """The test sets without the validation set; the validation set if there is no other."""
        return [name for name in self.test_sets if name != self.valid_set] or [self.valid_set]

    def check(self) -> None:
        """Raises InputError for the first option that is wrong, before anything runs."""
        message = f"--test_sets is {' '.join(self.test_sets)!r}, expected --valid_set ({self.valid_set}) among them"
        require(self.valid_set in self.test_sets, message)
        require(
            Path(self.methods_config).is_file(), f"--methods_config is {self.methods_config!r}, and there is no such file"
        )
        require(self.methods and self.seeds, "--methods and --seeds are needed")
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"--{name} is {getattr(self, name)}, expected at least 1")
        for name in ("lr", "head_lr"):
            require(getattr(self, name) > 0, f"--{name} is {getattr(self, name)}, expected a number above 0")

    def corpus_check(self) -> str:
        """See ``ScriptOptions``."""
        if self.local_data:
            return module_instead(self.python, [*self.local_data, "--check_corpus"])
        texts = [Path("data", name, "text") for name in dict.fromkeys((self.train_set, *self.test_sets))]
        missing = [str(path) for path in texts if not path.is_file()]
        require(not missing, f"there is no {', '.join(missing)}: expected a text in every dataset")
        return print_and_exit(f"there are {', '.join(map(str, texts))}")

    def for_bash(self) -> Mapping[str, Any]:
        """What text.sh needs: all options as words, too."""
        values = {name: getattr(self, name) for name in self.on_command_line()}
        words = [word for name, value in values.items() for word in (f"--{name}", _word(value))]
        plain = {name: values[name] for name in ("stage", "stop_stage", "local_data", "expdir")}
        return plain | {"words": words}


def _word(value: Any) -> str:
    """A value as one word of a command line."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    raise SystemExit(TextOptions.main())
