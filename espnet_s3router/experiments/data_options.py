"""The options of the recipes about folders, data and tokens, their checks, and what follows from them."""

import dataclasses
from pathlib import Path

from espnet_s3router.experiments import layout
from espnet_s3router.results.rows import ACCURACY
from espnet_s3router.script_options import ScriptOptions, Words, require
from espnet_s3router.text_files import read_symbols

TASKS = ("asr", "slu")
"""Tasks of ESPnet."""
BOTH_TASKS = "asr_slu"
TOKEN_TYPES = ("char", "bpe", "word", "phn")
CLEANERS = ("tacotron", "jaconv", "vietnamese", "whisper_en", "whisper_basic")
"""Text cleaners that ESPnet's training command accepts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions(ScriptOptions):
    """The part of ``Options`` that says what is trained and scored on."""

    # Folders
    dumpdir: str = "dump"
    """folder of the formatted data"""
    expdir: str = "exp"
    """folder of the experiments"""
    # Data
    recipe: str = ""
    """name in the results; empty: the last two folders of the recipe, such as asterisk/asr1"""
    local_data: Words = ()
    """Python module of local/ that prepares the corpus, with its options"""
    local_data_opts: Words = ()
    """further options of that module"""
    local_upstream: Words = ()
    """Python module of local/ that fetches the upstream, with its options"""
    speed_perturb_factors: Words = ()
    """speeds of the training data, such as "0.9 1.0 1.1"; empty: unchanged"""
    audio_format: str = "flac"
    """flac or wav"""
    fs: str = "16000"
    """sampling rate in Hz: 16000 or 16k"""
    min_wav_duration: float = 0.1
    """seconds; shorter utterances are left out of training and validation"""
    max_wav_duration: float = 20
    """seconds; longer utterances are left out of training and validation"""
    on_bad: str = "error"
    """a faulty recording stops the recipe (error) or is left out (drop)"""
    train_set: str = ""
    """training dataset"""
    valid_set: str = ""
    """validation dataset, one of the test sets"""
    test_sets: Words = ()
    """datasets to decode and score"""
    lang: str = "noinfo"
    """name of the token list's folder"""
    unseen: str = ""
    """file of test utterances whose text does not occur in training; they are also scored apart"""
    # Task
    task: str = "asr"
    """asr: text is a transcript; slu: its first word is an intent; asr_slu: utt2category names the task of each text"""
    intent_alone: bool = False
    """true, with task slu: train and score the intent without the transcript that follows it"""
    # Tokens
    token_type: str = "char"
    """char, bpe, word, or phn: phones with spaces between them in text, scored by the phone error rate"""
    nbpe: int = 30
    """number of pieces for bpe"""
    bpemode: str = "unigram"
    """unigram or bpe"""
    cleaner: str = "none"
    """none, or a text cleaner of ESPnet (tacotron, jaconv …), for the transcripts of all datasets"""
    nlsyms_txt: str = ""
    """file of non-linguistic symbols: one token each, not scored"""

    @property
    def recipe_name(self) -> str:
        """Name of the recipe in the results."""
        return self.recipe or "/".join(Path.cwd().parts[-2:])

    @property
    def training_set(self) -> str:
        """Name of the training dataset after speed perturbation."""
        return f"{self.train_set}_sp" if self.speed_perturb_factors else self.train_set

    @property
    def held_out_sets(self) -> list[str]:
        """The test sets without the validation set; the validation set if there is no other."""
        return [name for name in self.test_sets if name != self.valid_set] or [self.valid_set]

    @property
    def raw(self) -> str:
        """Folder of the formatted datasets."""
        return f"{self.dumpdir}/raw"

    def test_data(self, name: str) -> str:
        """Folder of a dataset as it is decoded: the validation set without the filter of training."""
        return f"{self.raw}/{layout.UNFILTERED}/{name}" if name == self.valid_set else f"{self.raw}/{name}"

    @property
    def token_folder(self) -> str:
        """Folder of the token list."""
        kind = f"bpe_{self.bpemode}{self.nbpe}" if self.token_type == "bpe" else self.token_type
        cleaner = "" if self.cleaner == "none" else f"_{self.cleaner}"
        return f"data/{self.lang}_token_list/{kind}{cleaner}{'_intent' if self.intent_alone else ''}"

    @property
    def token_list(self) -> str:
        """File of the token list."""
        return f"{self.token_folder}/tokens.txt"

    @property
    def bpe_model(self) -> str:
        """File of the sentencepiece model; empty without one."""
        return f"{self.token_folder}/bpe.model" if self.token_type == "bpe" else ""

    @property
    def phones(self) -> bool:
        """True if the tokens are phones."""
        return self.token_type == "phn"

    @property
    def understands(self) -> bool:
        """True if texts begin with an intent."""
        return self.task in ("slu", BOTH_TASKS)

    @property
    def both_tasks(self) -> bool:
        """True if some texts are transcripts and some are intents, as ``utt2category`` says."""
        return self.task == BOTH_TASKS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the runs, the primary one first."""
        of_text = ("per",) if self.phones else ("cer", "wer")
        return (ACCURACY, *(() if self.intent_alone else of_text)) if self.understands else of_text

    @property
    def symbols_file(self) -> str:
        """File of the symbols that are one token each: those of ``nlsyms_txt``, and the intents, which stage 4 collects."""
        return f"{self.raw}/intents.txt" if self.understands else self.nlsyms_txt

    @property
    def espnet_token_type(self) -> str:
        """ESPnet's name: its ``phn`` joins decoded phones without spaces, and its ``word`` takes what spaces separate."""
        return "word" if self.phones else self.token_type

    def check_data(self) -> None:
        """Raises InputError for datasets or tokens that cannot be used."""
        given = self.train_set and self.valid_set and self.test_sets
        require(given, "--train_set, --valid_set and --test_sets are needed")
        require(
            self.valid_set in self.test_sets,
            f"--test_sets is {' '.join(self.test_sets)!r}, expected --valid_set ({self.valid_set}) among them: "
            "variants are chosen on it",
        )
        names = " ".join([self.dumpdir, self.train_set, self.valid_set, *self.test_sets])
        message = f"--dumpdir and datasets are {names!r}, expected no comma: ESPnet splits `path,name,type` there"
        require("," not in names, message)
        message = f"--fs is {self.fs!r}, expected 16000: s3prl's upstreams take audio of 16 kHz"
        require(self.fs in ("16000", "16k"), message)
        if self.nlsyms_txt:
            message = f"--nlsyms_txt is {self.nlsyms_txt!r}, and there is no such file"
            require(Path(self.nlsyms_txt).is_file(), message)
            read_symbols(self.nlsyms_txt)
        message = f"--cleaner is {self.cleaner!r}, expected none or a cleaner of ESPnet: {', '.join(CLEANERS)}"
        require(self.cleaner in ("none", *CLEANERS), message)
        message = f"--token_type is {self.token_type!r}, expected one of {', '.join(TOKEN_TYPES)}"
        require(self.token_type in TOKEN_TYPES, message)
        self._check_task()

    def _check_task(self) -> None:
        tasks = (*TASKS, BOTH_TASKS)
        require(self.task in tasks, f"--task is {self.task!r}, expected one of {', '.join(tasks)}")
        message = f"--intent_alone is true with --task {self.task}, expected --task slu"
        require(self.task == "slu" or not self.intent_alone, message)
        message = "--token_type is phn with --task slu, expected word, char or bpe: an intent is a word of text"
        require(not (self.understands and self.phones), message)
        message = f"--cleaner is {self.cleaner} with --intent_alone, expected none: no transcript is left to clean"
        require(self.cleaner == "none" or not self.intent_alone, message)
