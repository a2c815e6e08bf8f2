"""Best-path decoding, by its definition on artificial frames and with a model in ESPnet's inference command."""

import pytest
import torch

from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.training.task import S3RouterASRTask


def frames(path, tokens=3):
    """Log probabilities (frames, tokens) in which ``path`` is the most probable, less clearly with every frame."""
    logits = torch.zeros(len(path), tokens)
    for frame, token in enumerate(path):
        logits[frame, token] = 5.0 / (1 + frame)
    return logits.log_softmax(-1)


@pytest.mark.parametrize(
    ("path", "blank", "tokens"),
    [
        ([1, 1, 0, 1, 2, 2], 0, [1, 1, 2]),
        ([2, 2, 0, 0, 2], 0, [2, 2]),
        ([1, 1, 0, 1, 2, 2], 2, [1, 0, 1]),
        ([0, 0, 0], 0, []),
        ([], 0, []),
    ],
    ids=str,
)
def test_repeats_merge_before_blanks_fall(path, blank, tokens):
    log_probs = frames(path)
    found, score = best_path(log_probs, blank)
    assert found == tokens
    assert score == pytest.approx(sum(float(log_probs[frame, token]) for frame, token in enumerate(path)))


@pytest.mark.filterwarnings("ignore:unclosed file")  # ESPnet's
def test_the_command_takes_the_most_probable_token_of_each_frame(trained, corpus, tmp_path):
    """Text and score of every utterance; a beam search would sum up the paths of a text and score it higher."""
    from espnet_s3router.bin.asr_inference import main

    config, model_file = trained("routing") / "config.yaml", tmp_path / "1epoch.pth"
    state = torch.load(trained("routing") / "1epoch.pth")
    head, generator = "ctc.ctc_lo.weight", torch.Generator().manual_seed(0)
    state[head] = torch.randn(state[head].shape, generator=generator)  # texts of several tokens
    torch.save(state, model_file)
    model, _ = S3RouterASRTask.build_model_from_file(config, model_file, "cpu")
    command = ["--asr_train_config", config, "--asr_model_file", model_file, "--ctc_weight", "1.0"]
    command += ["--data_path_and_name_and_type", f"{corpus / 'wav.scp'},speech,sound", "--output_dir", tmp_path / "decoded"]
    command += ["--num_workers", "0"]
    main([*map(str, command), "--ctc_best_path", "true"])
    tokens, scores = (table(tmp_path / "decoded/1best_recog" / name) for name in ("token_int", "score"))
    merged = 0
    for name, path in table(corpus / "wav.scp").items():
        log_probs = posteriors(model.eval(), path)
        best = log_probs.argmax(-1).tolist()
        expected = [token for last, token in zip([None, *best], best) if token not in (last, 0)]
        assert tokens[name] == " ".join(map(str, expected))
        assert float(scores[name]) == pytest.approx(float(log_probs.max(-1).values.sum()), rel=1e-4)
        merged += len(best) - len(expected)
        assert len(set(expected)) > 1
    assert merged > 8


@torch.no_grad()
def posteriors(model, path):
    """Log probabilities of the CTC head for a recording, (frames, tokens)."""
    import soundfile

    wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    encoded, _ = model.encode(wave, torch.tensor([wave.shape[1]]))
    return model.ctc.log_softmax(encoded)[0]


def table(path):
    """Key -> the rest of its line."""
    lines = (line.partition(" ") for line in path.read_text("utf-8").splitlines())
    return {key: value for key, _, value in lines}
