"""A joint run of two made-up languages with a few updates: one grid, masks of each language, and its text."""

import shutil

import pytest
import torch

from espnet_s3router.experiments import grid
from espnet_s3router.experiments.single.decoding import models_of
from espnet_s3router.results.scored_runs import collect_runs
from tests.recipes.conftest import as_words, call

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

NAME = "asr_pathways_s0.1_seed0"
ARGS = "max_epoch=1 num_iters_per_epoch=4 batch_size=2 frontend_conf.mask_conf.languages=[aa,bb]"


def test_every_utterance_is_decoded_with_the_masks_of_its_language(prepared_recipes, tmp_path, monkeypatch):
    monkeypatch.chdir(prepared_recipes.here)
    raw = tmp_path / "dump/raw"
    shutil.copytree(prepared_recipes.here / "dump/raw", raw, symlinks=True)
    for name in ("train", "dev", "test"):
        keys = [line.split()[0] for line in (raw / name / "text").read_text("utf-8").splitlines()]
        lines = "".join(f"{key} {('aa', 'bb')[number % 2]}\n" for number, key in enumerate(keys))
        (raw / name / "utt2category").write_text(lines, encoding="utf-8")
    conf = prepared_recipes.here / "conf"
    changes = {"methods": "pathways", "methods_config": f"{conf}/methods.yaml {conf}/methods/joint.yaml"}
    changes |= {"dumpdir": tmp_path / "dump", "inference_args": "--ctc_best_path true", "parallel": 1}
    options = prepared_recipes.options(tmp_path / "exp", asr_args=ARGS, **changes)
    done = call(grid.main, as_words(options))
    assert done.returncode == 0, f"{done.stderr}\n{(tmp_path / 'exp' / NAME / 'run.log').read_text('utf-8')[-3000:]}"
    folder = tmp_path / "exp" / NAME
    model = "valid.cer_ctc.ave"
    assert sorted(path.name for path in (folder / "languages").iterdir()) == [f"aa_{model}", f"bb_{model}"]
    (run,) = collect_runs(tmp_path / "exp")
    assert run.info["method"] == "pathways" and {"dev", "test"} == set(run.counts)
    logs = folder / "decode/dev/logdir"
    parts = {part.name: (part / "keys").read_text("utf-8").split()[0] for part in logs.iterdir()}
    assert set(parts.values()) == {"dev-00", "dev-01"}  # a part for each language
    table = dict(line.split() for line in (raw / "test/utt2category").read_text("utf-8").splitlines())
    found = models_of(folder, folder / f"{model}.pth", raw / "test/wav.scp", list(table))
    joint = torch.load(folder / f"{model}.pth", weights_only=True)
    for file, keys in found.items():
        language = file.parent.name.partition("_")[0]
        assert {table[key] for key in keys} == {language}
        own = {key: tensor for key, tensor in torch.load(file, weights_only=True).items() if key.endswith(".scores")}
        assert own
        for key, tensor in own.items():
            assert torch.equal(tensor, joint[key.replace(".scores", f".by_language.{language}")])
        others = [joint[key.replace(".scores", f".by_language.{({'aa', 'bb'} - {language}).pop()}")] for key in own]
        assert not all(torch.equal(*pair) for pair in zip(own.values(), others))  # the languages have learned apart
    assert len(found) == 2
