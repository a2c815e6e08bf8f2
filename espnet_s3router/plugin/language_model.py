"""One language of a joint run (method ``pathways``) as an experiment of its own, of method ``routing``.

All that works on such experiments then works on the language: decoding, scoring, route files, baking, ``initial_mask``.
"""

from pathlib import Path

import torch
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml, replacing_dir
from espnet_s3router.methods import resolve
from espnet_s3router.methods.pathways import state_of_language
from espnet_s3router.plugin.deployment.bake import check_files, load_experiment
from espnet_s3router.plugin.model_file import mask_conf_of


def write_language(
    train_config: str | Path, model_file: str | Path, language: str, out: str | Path, *, task: str = "asr"
) -> Path:
    """Write ``out``/config.yaml and a model file of the same name as ``model_file``. Returns ``out``.

    Raises InputError if ``out`` exists, for files that are no experiment of method pathways, and for an unknown language.
    """
    out = Path(out)
    check_files(train_config, model_file, out)
    config = read_yaml(train_config)
    conf = mask_conf_of(config)
    if conf.get("method") != "pathways":
        raise InputError(f"{train_config}: method is {conf.get('method')!r}, expected pathways: a run of several languages")
    if language not in conf["languages"]:
        raise InputError(f"{train_config}: the language is {language!r}, expected one of {', '.join(conf['languages'])}")
    model, _ = load_experiment(Path(train_config), Path(model_file), task)
    plain = {key: value for key, value in conf.items() if key not in ("languages", "heads", "masks")} | {"method": "routing"}
    resolve(plain)
    config["frontend_conf"]["mask_conf"] = plain
    with replacing_dir(out) as folder:
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        torch.save(state_of_language(model.state_dict(), language), folder / Path(model_file).name)
    return out
