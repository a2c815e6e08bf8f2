"""The languages of a transfer matrix, their own runs, and the runs that start from the masks of other languages.

Two runs follow each own run of a language for every other language. In ``frozen`` the masks of the other language stay and
the head alone trains. In ``adapted`` the masks go on learning from there.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.experiments import grid
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.specification import Spec, home
from espnet_s3router.experiments.statistics import collected
from espnet_s3router.experiments.workers.cluster import check_options
from espnet_s3router.results.pages.transfer import ADAPTED, FROZEN, label_of

FOLDER = "transfer"
"""Below --expdir: the experiment folders of the matrix, which tables of single languages leave out."""
KINDS = (FROZEN, ADAPTED)
"""The runs that start from the masks of another language."""
NOT_OF_FROZEN = ("train_biases", "train_norms")
"""Options of masks that a frozen run leaves out, so that its head alone trains."""


@dataclasses.dataclass(frozen=True)
class Language:
    """One language of a matrix."""

    options: Options
    """The options of its recipe. Their one method is the row of the own runs."""
    expdir: str = ""
    """Folder of the runs that start from other languages. Empty: ``FOLDER`` below that of the own runs."""

    @property
    def name(self) -> str:
        """The label of the language on the page and in the names of experiments."""
        return self.options.route_language or self.options.lang

    @cached_property
    def own(self) -> list[Spec]:
        """The runs that learn the masks of this language, in the order of sparsities, rates and seeds."""
        return grid.specs_of(self.options)

    def folder(self, spec: Spec) -> Path:
        """The experiment folder of an own run."""
        return home(spec, self.options.expdir)

    def model(self, spec: Spec) -> Path:
        """The model file of an own run, which holds its masks."""
        return self.folder(spec) / self.options.inference_asr_model

    @cached_property
    def for_matrix(self) -> Options:
        """The options of the runs that start from other languages."""
        expdir = self.expdir or f"{self.options.expdir}/{FOLDER}"
        return dataclasses.replace(self.options, expdir=expdir, asr_stats_dir=self.options.stats_dir)


def languages_of(groups: Sequence[Sequence[str]], row: str, expdir: str = "") -> list[Language]:
    """The languages of a matrix, one for each group of options; ``row``: the row of methods_config that learns masks.
    ``expdir``: see ``Language``.

    Raises InputError for wrong options, fewer than two languages, and languages whose own runs differ.
    """
    languages = []
    for words in groups:
        options = Options.parse(words)
        options.check()
        check_options(options)
        options = dataclasses.replace(options, stage=11, stop_stage=13, skip_train=False, skip_eval=False)
        languages.append(Language(dataclasses.replace(options, methods=(row,)), expdir))
    names = [language.name for language in languages]
    if len(names) < 2 or len(set(names)) < len(names):
        listed = " ".join(names) or "none"
        raise InputError(f"the languages of a transfer matrix are {listed}, expected two or more different")
    first = languages[0]
    for language in languages:
        if _points(language) != _points(first):
            raise InputError(
                f"the own runs of {language.name} and {first.name} differ: {_points(language)} and {_points(first)}. "
                "Expected the same upstream, sparsities, rates and seeds"
            )
    return languages


def check_masks(languages: Sequence[Language], row: str) -> None:
    """Raises InputError if the own runs learn no masks of a given sparsity on frozen weights."""
    for spec in (spec for language in languages for spec in language.own):
        conf = spec.mask_conf
        if conf["method"] != "routing" or conf.get("train_weights") or conf.get("target_bytes") is not None:
            raise InputError(
                f"--row is {row!r} with mask_conf {conf}, expected masks on frozen weights: method routing with a sparsity, "
                "without train_weights and target_bytes"
            )


def _points(language: Language) -> list[str]:
    """Upstream, sparsity, rate and seed of each own run."""
    prefix = language.options.experiment_prefix
    return [f"{spec.upstream} {spec.name.removeprefix(prefix)}" for spec in language.own]


def check_own_runs(languages: Sequence[Language]) -> None:
    """Raises InputError that names the languages whose own runs are not trained and scored."""
    problems = []
    for language in languages:
        for spec in language.own:
            folder, model = language.folder(spec), language.model(spec)
            if not grid.finished(folder, language.options):
                problems.append(f"{language.name}: {folder} is not trained and scored")
            elif not model.is_file():
                problems.append(f"{language.name}: there is no {model}")
        if not collected(language.options):
            problems.append(f"{language.name}: {language.options.stats_dir} holds no statistics")
    raise_problems(problems, "transfer matrix", "Run stages 1 to 13 of these languages first, with the same options")


def transferred(target: Language, others: Sequence[Language], kinds: Sequence[str]) -> list[Spec]:
    """The runs of a language, of some ``KINDS``, that start from the masks of ``others``."""
    return [spec for source in others for spec in _from(source, target, kinds)]


def _from(source: Language, target: Language, kinds: Sequence[str]) -> Iterator[Spec]:
    for theirs, ours in zip(source.own, target.own, strict=True):
        conf = ours.mask_conf | {"initial_mask": str(source.model(theirs))}
        for kind in kinds:
            mask_conf = _frozen(conf) if kind == FROZEN else conf
            frontend = ours.config["frontend_conf"] | {"mask_conf": mask_conf}
            label, config = label_of(source.name, kind), {**ours.config, "frontend_conf": frontend}
            yield Spec(renamed(ours, target.options, label), config, label=label)


def renamed(spec: Spec, options: Options, label: str) -> str:
    """The name of a run with another label in place of its own."""
    prefix = options.experiment_prefix
    return f"{prefix}_{label}" + spec.name.removeprefix(f"{prefix}_{spec.label}")


def _frozen(conf: dict[str, Any]) -> dict[str, Any]:
    """The options of masks that are those of ``initial_mask`` and stay."""
    from espnet_s3router.methods.fixed_masks import MagnitudeConfig

    known = {field.name for field in dataclasses.fields(MagnitudeConfig)} - set(NOT_OF_FROZEN)
    return {"method": "magnitude"} | {key: value for key, value in conf.items() if key in known}
