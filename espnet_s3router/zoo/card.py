"""The model card of a pack: the head that the Hugging Face hub reads, and a page for people."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from platform import python_version
from typing import Any

import yaml

from espnet_s3router.files import write_atomic
from espnet_s3router.text_format import scaled
from espnet_s3router.zoo.facts import UNKNOWN
from espnet_s3router.zoo.meta import BAKED, CARD, EXPERIMENT, ROUTES, Meta

TASKS = {"asr": "automatic-speech-recognition", "slu": "spoken-language-understanding"}
LONGER_MEASURES = ("macro_f1", "slu_f1", "slot_type_f1", "slot_value_cer")
"""Names of measures of understanding, which hold underscores."""
RECIPE = re.compile(r"/[a-z]+\d$")
"""What a recipe adds to the name of its corpus."""
PLACEHOLDER = "OWNER/NAME"
"""Name of a pack in the examples of a card, until it is uploaded."""
INSTALL = (
    "The command belongs to the Python package `espnet-s3router`. Install its wheel with `pip install FILE.whl`, or run "
    "`pip install .` in a clone of its repository."
)
"""Where the package comes from; it is on no package index."""
HUB_LICENCES = ("mit", "apache-2.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0")
"""Names of licences on the hub, of those that speech corpora and models have. The hub calls all others ``other``."""


def write_card(folder: Path, meta: Meta, name: str = "") -> None:
    """Write the card of a pack; ``name`` is its id on the hub, if it is known."""
    write_atomic(folder / CARD, card(meta, name))


def card(meta: Meta, name: str = "") -> str:
    """The text of the card."""
    head = yaml.safe_dump(front_matter(meta), sort_keys=False, allow_unicode=True)
    parts = [
        title(meta),
        models_table(meta),
        results(meta),
        plots(meta),
        usage(meta, name or PLACEHOLDER),
        licences(meta),
        environment(),
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def licences_of(meta: Meta) -> dict[str, list[str]]:
    """``data`` and ``base`` with the licences that a pack names, in order and without repeats."""
    data = dict.fromkeys(str(facts.get("licence") or UNKNOWN) for facts in _models(meta).values())
    return {"data": list(data), "base": [str(meta.facts.get("base", {}).get("licence") or UNKNOWN)]}


def front_matter(meta: Meta) -> dict[str, Any]:
    """What the hub reads at the top of a card."""
    models = _models(meta)
    every = list(dict.fromkeys(licence for part in licences_of(meta).values() for licence in part))
    head: dict[str, Any] = {"tags": ["espnet", "s3router", "audio", TASKS[meta.task]]}
    if meta.task == "asr":
        head["pipeline_tag"] = TASKS["asr"]
    if languages := list(dict.fromkeys(str(facts["language"]) for facts in models.values() if facts.get("language"))):
        head["language"] = languages
    if corpora := list(dict.fromkeys(_corpus(facts) for facts in models.values() if facts.get("corpus"))):
        head["datasets"] = corpora
    if len(every) == 1 and every[0].lower() in HUB_LICENCES:
        head["license"] = every[0].lower()
    else:
        head |= {"license": "other", "license_name": " and ".join(every).lower().replace(" ", "-").replace("/", "-")}
    return head | {"library_name": "espnet"}


def title(meta: Meta) -> str:
    """Heading and one paragraph."""
    names = ", ".join(_models(meta))
    base = meta.facts.get("base", {})
    where = "which is inside" if base.get("inside") else "which is loaded by its name"
    upstream = f"`{base.get('upstream')}`" + (f" ({base['path_or_url']})" if base.get("path_or_url") else "")
    if meta.kind == ROUTES:
        text = (
            f"Routes of {names}. A route is what one language adds to shared, frozen weights: which connections it keeps, a "
            f"head and a token list. The base is {upstream}, {where}."
        )
        return f"# Routes for speech: {names}\n\n{text}"
    if meta.kind == EXPERIMENT:
        text = f"A speech model as it was trained. This package opens it. Its base is {upstream}, {where}."
        return f"# Speech model: {names}\n\n{text}"
    text = (
        f"A speech model with its masks in the weights. ESPnet opens it without other packages. The upstream is {upstream}."
    )
    return f"# Speech model: {names}\n\n{text}"


def models_table(meta: Meta) -> str:
    """A row for each model: method, sparsity, bytes, data."""
    lines = ["| name | method | removed of the masked connections | tokens | bytes | data | licence of the data |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, facts in _models(meta).items():
        masked = facts.get("masked_connections")
        removed = f"{facts.get('sparsity', 0):.2%} of {scaled(masked)}" if masked else "–"
        cells = [name, facts.get("method", "–"), removed, facts.get("tokens", "–"), f"{scaled(facts['bytes'])}B"]
        cells += [_data(facts), facts.get("licence") or UNKNOWN]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "## Models\n\n" + "\n".join(lines)


def _data(facts: Mapping[str, Any]) -> str:
    parts = [_corpus(facts) if facts.get("corpus") else "", str(facts.get("training_set") or "")]
    return ", ".join(part for part in parts if part) or "–"


def _corpus(facts: Mapping[str, Any]) -> str:
    """Name of the data set. Older routes name their recipe instead, such as ``mboshi/asr1``."""
    return RECIPE.sub("", str(facts["corpus"]))


def results(meta: Meta) -> str:
    """Error rates, with their intervals where they are known, and the command and commit of each model."""
    lines = []
    for name, facts in _models(meta).items():
        intervals = facts.get("intervals") or {}
        for metric, value in (facts.get("metrics") or {}).items():
            dataset, kind = _set_and_metric(metric)
            low, high = intervals.get(metric, (None, None))
            bounds = "" if low is None else f" [{low:.1f}, {high:.1f}]"
            lines.append(f"| {name} | {dataset or '–'} | {kind} | {value:.1f}{bounds} |")
    if not lines:
        return "## Results\n\nThe maker of this pack gave none."
    table = "\n".join(["| name | set | metric | % [95 % bootstrap interval] |", "|---|---|---|---|", *lines])
    commands = dict.fromkeys(_command(facts) for facts in _models(meta).values() if facts.get("training_command"))
    how = "\n".join(f"- {command}" for command in commands)
    return f"## Results\n\n{table}" + (f"\n\nTrained with:\n\n{how}" if how else "")


def plots(meta: Meta) -> str:
    """The plots in the pack, by relative paths; empty if there is none."""
    pictures = [f"![{PurePosixPath(path).stem.replace('_', ' ')}]({path})" for path in meta.facts.get("plots") or ()]
    return "\n\n".join(["## Plots", *pictures]) if pictures else ""


def _set_and_metric(name: str) -> tuple[str, str]:
    """For example (test_en, CER) for ``test_en_cer``, and (test, SLU F1) for ``test_slu_f1``."""
    longer = (measure for measure in LONGER_MEASURES if f"_{name}".endswith(f"_{measure}"))
    kind = next(longer, name.rpartition("_")[2])
    return name.removesuffix(kind).removesuffix("_"), kind.replace("_", " ").upper()


def _command(facts: Mapping[str, Any]) -> str:
    extra = [f"{key} {facts[key]}" for key in ("recipe", "seed", "commit") if facts.get(key) is not None]
    return f"`{facts['training_command']}`" + (f" ({', '.join(extra)})" if extra else "")


def usage(meta: Meta, name: str) -> str:
    """Python code and a command that use the pack."""
    first = next(iter(_models(meta)))
    opener = {"asr": "Speech2Text", "slu": "Speech2Understand"}[meta.task]
    ours = [
        f"from espnet_s3router import {opener}",
        "",
        f'{opener.lower()} = {opener}.from_pretrained("{name}", route="{first}")',
        f'text, *_ = {opener.lower()}("a.wav")[0]',
    ]
    text = "## Usage\n\n```python\n" + "\n".join(ours) + "\n```\n"
    command = {"asr": f"transcribe --model {name} --lang", "slu": f"understand --model {name} --task"}[meta.task]
    text += f"\n{INSTALL}\n\n```\ns3router {command} {first} a.wav\n```"
    if meta.kind == BAKED:
        stock = [
            f"from espnet2.bin.{meta.task}_inference import {opener}",
            "",
            f'{opener.lower()} = {opener}.from_pretrained("{name}", ctc_weight=1.0)',
            f"text, *_ = {opener.lower()}(samples)[0]  # mono, 16 kHz",
        ]
        text += "\n\nWith ESPnet alone:\n\n```python\n" + "\n".join(stock) + "\n```"
    return text


def licences(meta: Meta) -> str:
    """Licences of the data and of the base."""
    parts = licences_of(meta)
    return f"## Licences\n\n- Data that the models were trained on: {', '.join(parts['data'])}\n- Base: {parts['base'][0]}"


def environment() -> str:
    """Versions of what made the pack."""
    packages = ("espnet-s3router", "espnet", "espnet-s3prl", "torch", "transformers")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"## Environment\n\nPython {python_version()}, {versions}"


def _models(meta: Meta) -> dict[str, dict[str, Any]]:
    return meta.facts.get("models") or {}
