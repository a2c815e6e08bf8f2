"""Routes of experiments: a model from the file gives the outputs of the trained model, bit for bit."""

import pytest
import torch
from toys import TOYS, wav2vec2

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment import route_model
from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
from espnet_s3router.plugin.deployment.route import speech_like, write_experiment
from espnet_s3router.plugin.deployment.route_model import base_weights, load_frontend, load_model
from espnet_s3router.routes import combine, container, open_route, write_route

WAVE = speech_like(1.3, pitch=150.0)
METHODS = {
    "routing": {"method": "routing", "sparsity": 0.2, "targets": "all"},
    "global": {"method": "routing", "sparsity": 0.2, "ranking": "global"},
    "2:4": {"method": "routing", "sparsity": 0.5, "ranking": "2:4"},
    "units": {"method": "routing", "sparsity": 0.25, "ranking": "output_units"},
    "norms": {"method": "routing", "sparsity": 0.2, "train_norms": True, "train_biases": True},
    "layers": {"method": "routing", "sparsity": 0.2, "layer_sparsity": {0: 0.0, 1: 0.5}},
    "random": {"method": "random", "sparsity": 0.2},
    "magnitude": {"method": "magnitude", "sparsity": 0.2},
    "candidates": {"method": "routing", "sparsity": 0.2, "candidates": 0.5, "targets": "all"},
    "random candidates": {"method": "routing", "sparsity": 0.1, "candidates": 0.3, "candidates_from": "random"},
    "upper layer": {"method": "routing", "sparsity": 0.2, "layers": [1]},
    "flip penalty": {"method": "routing", "sparsity": 0.2, "flip_penalty": 0.5},
    "target": {"method": "routing", "target_bytes": 100},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "rank": 2},
    "houlsby": {"method": "houlsby", "bottleneck": 3},
    "bitfit": {"method": "bitfit"},
    "mms_adapter": {"method": "mms_adapter", "bottleneck": 4},
    "bitdelta": {"method": "bitdelta", "start": "x"},
    "bitdelta, both": {"method": "bitdelta", "scales": "both", "rest": "base", "start": "x"},
}


def check_same_outputs(files, route):
    expected = outputs(load_experiment(*files, "asr")[0], WAVE)
    assert torch.equal(outputs(load_model(route), WAVE), expected)


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name, trained_like, tmp_path):
    files = trained_like(mask_conf=METHODS[name])
    file = write_experiment(*files, tmp_path / "x.route", metadata={"language": "en"})
    check_same_outputs(files, tmp_path / "x.route")
    facts = file.header["metadata"]
    assert (facts["language"], facts["method"], facts["task"]) == ("en", METHODS[name]["method"], "asr")
    trained, _ = load_experiment(*files, "asr")
    assert {key: mask.zeros for key, mask in file.coded.items()} == {
        key: int((~masked.mask).sum()) for key, masked in trained.frontend.attached.masks.items()
    }


@pytest.mark.parametrize("family", TOYS)
def test_every_family_and_layer_weights(family, trained_like, tmp_path):
    files = trained_like(family=family, frontend={"multilayer_feature": True})
    file = write_experiment(*files, tmp_path / "x.route")
    check_same_outputs(files, tmp_path / "x.route")
    assert [key for key in file.tensors if key.startswith("featurizer/")] == ["featurizer/weights"]


def test_a_frontend_alone(trained_like, tmp_path):
    files = trained_like()
    write_experiment(*files, tmp_path / "x.route")
    trained, _ = load_experiment(*files, "asr")
    lengths = torch.tensor([len(WAVE)])
    with torch.no_grad():
        expected, got = (f(WAVE[None], lengths)[0] for f in (trained.frontend.eval(), load_frontend(tmp_path / "x.route")))
    assert torch.equal(got, expected)


def test_an_experiment_that_espnet_trained(trained, tmp_path):
    made = trained("routing")
    files = (made / "config.yaml", made / "valid.loss.ave.pth")
    first = write_experiment(*files, tmp_path / "a.route")
    check_same_outputs(files, tmp_path / "a.route")
    write_experiment(*files, tmp_path / "b.route")
    assert (tmp_path / "a.route").read_bytes() == (tmp_path / "b.route").read_bytes()
    assert first.bytes < (made / "valid.loss.ave.pth").stat().st_size


def test_masks_near_the_base_are_coded_under_it(untrained, tmp_path):
    """An untrained mask is the magnitude mask. Toy matrices are too small for a table of 256 rates."""
    from espnet_s3router.routes import buckets

    out = untrained(mask_conf=METHODS["magnitude"])
    file = write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "x.route")
    weights, route = base_weights(file), file.decode()
    for name, mask in route.masks.items():
        removed = (~mask).numpy().reshape(-1)
        assert (buckets.decode(buckets.encode(removed, weights[name]), weights[name]) == removed).all()


class TestHalf:
    def test_stored_in_16_bits_if_the_text_stays(self, trained_like, tmp_path):
        files = trained_like()
        file = write_experiment(*files, tmp_path / "x.route", same_text=[WAVE])
        assert {tensor.dtype for tensor in file.tensors.values()} == {torch.float16}
        whole = write_experiment(*files, tmp_path / "y.route")
        assert file.bytes < whole.bytes and file.coded == whole.coded

    def test_the_outputs_are_those_of_the_rounded_model(self, trained_like, tmp_path):
        files = trained_like(mask_conf=METHODS["norms"])
        write_experiment(*files, tmp_path / "x.route", same_text=[WAVE])
        model, _ = load_experiment(*files, "asr")
        exact = outputs(model, WAVE)
        names = {name for name, p in model.named_parameters() if p.requires_grad and not name.endswith("scores")}
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.data.copy_(parameter.data.half())
        assert len(names) > 3  # the norms too, beside the head
        stored = outputs(load_model(tmp_path / "x.route"), WAVE)
        assert torch.equal(stored, outputs(model, WAVE)) and not torch.equal(stored, exact)

    @pytest.mark.parametrize("changes", [False, True])
    def test_written_once(self, changes, trained_like, tmp_path, monkeypatch):
        from espnet_s3router.plugin.deployment import half, route

        written = []
        monkeypatch.setattr(route, "write_route", lambda *given: written.append(write_route(*given)) or written[-1])
        paths = iter(range(100))
        if changes:
            monkeypatch.setattr(half, "best_path", lambda values: ([next(paths)], 0.0))
        assert write_experiment(*trained_like(), tmp_path / "x.route", same_text=[WAVE]) is written[0] and len(written) == 1

    def test_stored_in_32_bits_if_it_changes(self, trained_like, tmp_path, monkeypatch):
        from espnet_s3router.plugin.deployment import half

        paths = iter(range(100))
        monkeypatch.setattr(half, "best_path", lambda values: ([next(paths)], 0.0))
        files = trained_like()
        file = write_experiment(*files, tmp_path / "x.route", same_text=[WAVE])
        assert {tensor.dtype for tensor in file.tensors.values()} == {torch.float32}
        check_same_outputs(files, tmp_path / "x.route")

    @pytest.mark.parametrize(("changing", "kept"), [("featurizer/", {"head/ctc", "upstream"}), ("head/", {"upstream"})])
    def test_each_part_is_stored_as_the_text_allows(self, changing, kept, trained_like, tmp_path, monkeypatch):
        """The text depends on one part here, and in the second case on the featurizer, too: all else takes 16 bits."""
        from espnet_s3router.plugin.deployment import half
        from espnet_s3router.plugin.deployment.route import learned_tensors

        files = trained_like(mask_conf=METHODS["lora"], frontend={"multilayer_feature": True})
        runs = []

        def outputs_of_parts(model, wave):
            runs.append(wave)
            parts = ("featurizer/", changing)
            return [float(t.sum()) for name, t in learned_tensors(model).items() if name.startswith(parts)]

        monkeypatch.setattr(half, "outputs", outputs_of_parts)
        monkeypatch.setattr(half, "best_path", lambda values: (values, 0.0))
        file = write_experiment(*files, tmp_path / "x.route", same_text=[WAVE])
        halves = {half.part_name(name) for name, tensor in file.tensors.items() if tensor.dtype == torch.float16}
        assert halves == kept and {tensor.dtype for tensor in file.tensors.values()} == {torch.float16, torch.float32}
        assert len(runs) == 5  # exact, all, and each of three parts

    def test_values_beyond_float16_stay(self):
        from espnet_s3router.plugin.deployment.half import in_16_bits

        assert in_16_bits(torch.tensor([7e4])).dtype == torch.float32
        assert in_16_bits(torch.tensor([6e4])).dtype == torch.float16
        assert in_16_bits(torch.tensor([3])).dtype == torch.int64


class TestRefused:
    @pytest.mark.parametrize(
        "mask_conf",
        [
            {"method": "finetune"},
            {"method": "parp", "sparsity": 0.2},
            {"method": "routing", "sparsity": 0.2, "train_weights": True},
            {"method": "routing_prune", "sparsity": 0.2, "start": "x"},
        ],
    )
    def test_methods_that_change_the_base(self, mask_conf, untrained, tmp_path):
        out = untrained(mask_conf=mask_conf)
        with pytest.raises(InputError, match="changes weights of the base, so a route would be as large.*espnet2.bin.pack"):
            write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "x.route")
        assert not (tmp_path / "x.route").exists()

    @pytest.mark.parametrize("mask_conf", [METHODS["lora"], METHODS["bitfit"], {"method": "routing", "sparsity": 0.0}])
    def test_methods_that_changed_nothing(self, mask_conf, untrained, tmp_path):
        out = untrained(mask_conf=mask_conf)
        with pytest.raises(InputError, match="the route is empty"):
            write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "x.route")
        assert not (tmp_path / "x.route").exists()

    def test_other_outputs(self, trained_like, tmp_path, monkeypatch):
        """Whatever goes wrong in between: the file is not put in place."""
        from espnet_s3router.plugin.deployment import route

        def broken(file):
            model = load_model(file)
            with torch.no_grad():
                model.ctc.ctc_lo.bias.add_(1e-3)
            return model

        monkeypatch.setattr(route, "load_model", broken)
        with pytest.raises(InputError, match=r"x.route: was not written: a model from it gives other outputs"):
            write_experiment(*trained_like(), tmp_path / "x.route")
        assert not (tmp_path / "x.route").exists()

    def test_plain_espnet_frontend(self, untrained, tmp_path, toy_upstreams):
        out = untrained(frontend={"mask_conf": {"method": "head_only"}})
        import yaml

        config = yaml.safe_load((out / "config.yaml").read_text("utf-8"))
        config |= {"frontend": "s3prl", "frontend_conf": {"frontend_conf": toy_upstreams["hf_hubert"]}}
        (out / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
        with pytest.raises(InputError, match="frontend is s3prl, expected masked_upstream"):
            write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "x.route")


class TestWrongRoute:
    """Files with a right checksum that do not fit."""

    @pytest.fixture
    def edited(self, trained_like, tmp_path):
        """edit(change of (header, tensors), name of the method) -> path of the edited file."""

        def edit(change, name="norms"):
            path = tmp_path / "x.route"
            write_experiment(*trained_like(mask_conf=METHODS[name]), path)
            header, tensors, _ = container.unpack(path)
            header.pop("checksum")
            change(header, tensors)
            path.write_bytes(container.pack(header, tensors))
            return path

        return edit

    def test_other_base(self, trained_like, tmp_path):
        (tmp_path / "other").mkdir()
        write_experiment(*trained_like(family="wav2vec2"), tmp_path / "x.route")
        source = wav2vec2(tmp_path / "other", seed=7)
        with pytest.raises(InputError, match="x.route: the route belongs to another base: fingerprint .*Give the upstream"):
            load_model(tmp_path / "x.route", source)
        with pytest.raises(InputError, match="belongs to another base"):
            base_weights(open_route(tmp_path / "x.route"), source)

    @pytest.mark.parametrize(
        ("targets", "message"), [("all", "lacks the mask of"), ("attention", "extra mask|lacks the mask")]
    )
    def test_other_sites(self, targets, message, edited):
        path = edited(lambda h, t: h["config"]["frontend_conf"]["mask_conf"].update(targets=targets))
        with pytest.raises(InputError, match=f"{message}.*expected masks on targets '{targets}'"):
            load_model(path)

    def test_masks_of_a_method_without_masks(self, edited):
        path = edited(lambda h, t: h["config"]["frontend_conf"].update(mask_conf={"method": "bitfit"}))
        with pytest.raises(InputError, match="holds masks, but its method is bitfit"):
            load_model(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda h, t: t.pop("head/ctc.ctc_lo.bias"), "the head lacks ctc.ctc_lo.bias"),
            (lambda h, t: t.update({"head/x": torch.zeros(1)}), "head tensor x has no place in the model"),
            (lambda h, t: t.update({"upstream/x": torch.zeros(1)}), "upstream tensor x has no place in the model"),
            (lambda h, t: h["config"].update(encoder="none"), "its model cannot be built"),
            (lambda h, t: h["metadata"].pop("task"), "its model cannot be built"),
            (lambda h, t: h["config"].update(frontend_conf={"mask_conf": {}, "cache": 1}), "its frontend_conf is"),
            (lambda h, t: h["config"].pop("frontend_conf"), "its frontend_conf is None"),
        ],
    )
    def test_tensors_and_configuration(self, change, message, edited):
        with pytest.raises(InputError, match=message):
            load_model(edited(change))

    def test_adapters_that_are_missing(self, edited):
        def remove(header, tensors):
            tensors.pop(next(name for name in tensors if name.startswith("upstream/")))

        with pytest.raises(InputError, match="lacks 1 tensors that its method learns, for example"):
            load_model(edited(remove, "houlsby"))

    def test_wrong_shape(self, edited):
        def cut(header, tensors):
            name = next(name for name in tensors if name.startswith("upstream/"))
            tensors[name] = tensors[name][:-1]

        with pytest.raises(InputError, match=r"upstream tensor .* has shape \(15,\), expected \(16,\)"):
            load_model(edited(cut))


def test_a_merged_route_works(trained_like, tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        write_experiment(*trained_like(name=name, seed=seed), tmp_path / f"{name}.route")
    routes = {name: open_route(tmp_path / f"{name}.route").decode() for name in ("a", "b")}
    write_route(tmp_path / "c.route", combine(routes, "intersection", "b"))
    merged, alone = load_model(tmp_path / "c.route"), load_model(tmp_path / "b.route")
    assert torch.equal(merged.ctc.ctc_lo.weight, alone.ctc.ctc_lo.weight)
    assert not torch.equal(outputs(merged, WAVE), outputs(alone, WAVE))


def test_layer_numbers_survive_json(trained_like, tmp_path):
    file = write_experiment(*trained_like(mask_conf=METHODS["layers"]), tmp_path / "x.route")
    assert route_model.mask_conf_of(file) == METHODS["layers"]


def test_the_command(trained_like, tmp_path, capsys):
    """write, then verify with the base that the file names, and with another."""
    import soundfile

    from espnet_s3router.cli.main import main

    soundfile.write(tmp_path / "a.wav", WAVE.numpy(), 16000)
    files, out = list(map(str, trained_like(family="wav2vec2"))), str(tmp_path / "x.route")
    (tmp_path / "decode.yaml").write_text("ctc_weight: 1.0\n", "utf-8")
    facts = ["--language", "en", "--metric", "test_cer=31.2", "--decode_config", str(tmp_path / "decode.yaml")]
    assert main(["route", "write", *files, out, *facts, "--half_if_same_text", str(tmp_path / "a.wav")]) == 0
    assert "float16" in capsys.readouterr().out
    header = open_route(out).header
    assert header["metadata"]["metrics"] == {"test_cer": 31.2} and header["config"]["decoding"] == {"ctc_weight": 1.0}
    assert main(["route", "verify", out, "--base"]) == 0
    (tmp_path / "other").mkdir()
    other = wav2vec2(tmp_path / "other", seed=7)["path_or_url"]
    assert main(["route", "verify", out, "--path_or_url", other]) == 1
    assert "belongs to another base" in capsys.readouterr().err


def test_a_folder_in_place_of_the_file_is_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} is a folder, expected the path of a file"):
        write_experiment("absent.yaml", "absent.pth", tmp_path)


def test_the_mask_embedding_stays_out(trained_like, tmp_path):
    """It acts in training only."""
    files = trained_like(frontend={"latent_masking": {"time_prob": 0.1, "train_embedding": True}})
    file = write_experiment(*files, tmp_path / "x.route")
    check_same_outputs(files, tmp_path / "x.route")
    assert not [name for name in file.tensors if name.startswith("upstream/")]
