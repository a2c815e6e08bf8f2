"""Extraction on every family: the smaller upstream gives the outputs of the gated one, and it has the expected size."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from structures import in_kind
from toy_audio import recorded_speech
from toys import TOYS, counted_by_torch

from espnet_s3router.deploy.file import load_shrunk, write_shrunk
from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.plugin.checkpoint import fingerprint, hexadecimal
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.plugin.upstreams.build import load_upstream
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import macs, parameters
from espnet_s3router.upstreams.structure import structure_of

WAVES = [speech_like(1.3), speech_like(0.9, pitch=180.0)]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
NO_UNITS = ("attention.0", "feed_forward.0", "feed_forward.1")
EMPTY = {torch.float64: NO_UNITS, torch.float32: ()}
"""Groups without units, by the type of the test."""
STYLES = ("wav2vec2", "wav2vec2_large", "hf_hubert", "espnet_hubert", "hf_whisper")


def gated(source, name, *, kind="hard_concrete", empty=(), sparsity=None, seed=0, blocks=False):
    """Handle of an upstream with random gates, in evaluation; groups in ``empty`` keep no unit."""
    upstream = load_upstream(source)
    units = ["conv", "feed_forward"] if name == "wavlm" else ["conv", "attention", "feed_forward"]
    sparsity = sparsity or (0.2 if name == "wavlm" else 0.5)
    conf = {"method": "hj", "sparsity": sparsity, "updates": 9, "gates": kind, "units": units, "blocks": blocks}
    attached = attach(upstream.upstream, conf)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group, gate in attached.gates.groups.items():
            gate.log_alpha.copy_(torch.randn(gate.log_alpha.shape, generator=generator))
            gate.log_alpha.sub_(1000.0 * (group in empty))
        for name, parameter in upstream.named_parameters():  # zeros would hide a lost bias
            if name.endswith(("bias", "bias.original")):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return attached, upstream


@torch.no_grad()
def states(expert, waves=WAVES):
    return [state.clone() for state in expert(waves)["hidden_states"]]


def difference(before, after):
    """The largest one, relative to the largest output."""
    assert len(before) == len(after) and all(a.shape == b.shape for a, b in zip(before, after))
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(before, after))


@pytest.mark.parametrize("kind", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [name for name in TOYS if name != "conformer"])
def test_outputs_stay(name, kind, toy_upstreams):
    """Every hidden state, with soft gates; audio of two lengths, so that one is padded. It is recorded speech where this
    repository has some; ``tests/recipes/test_asterisk.py`` always has it."""
    attached, _ = gated(toy_upstreams[name], name, empty=EMPTY[kind])
    waves = recorded_speech() or WAVES
    before, widths = states(in_kind(attached.upstream, kind), waves), attached.widths()
    smaller = shrink(attached)
    assert before[-1].dtype == kind and difference(before, states(smaller, waves)) <= TOLERANCE[kind]
    structure = structure_of(smaller, family_of(smaller))
    assert structure.widths == widths != attached.structure.widths
    assert sum(parameters(structure).values()) + structure.unused == sum(p.numel() for p in smaller.parameters())
    if kind == torch.float64:
        assert structure.widths.inner == (0, 0) and structure.widths.heads[0] == (2 if name == "wavlm" else 0)


@pytest.mark.parametrize("name", STYLES)
def test_binary_gates_lose_nothing(name, toy_upstreams):
    """What is left are the weights as they were."""
    attached, upstream = gated(toy_upstreams[name], name, kind="binary")
    weights = {p.data_ptr(): p.detach().clone() for p in upstream.parameters()}
    before = states(attached.upstream)
    smaller = shrink(attached)
    assert difference(before, states(smaller)) <= 1e-5
    values = torch.cat([tensor.flatten() for tensor in weights.values()])
    assert all(torch.isin(parameter, values).all() for parameter in smaller.parameters())


@pytest.mark.parametrize("name", ["wavlm", *STYLES])
def test_whole_blocks_go(name, toy_upstreams, tmp_path):
    """A removed block adds exact zeros to the residual path, also when it comes from a file."""
    source = toy_upstreams[name]
    base = hexadecimal(fingerprint(load_upstream(source)))
    closed = ("attention_block.0", "feed_forward_block.1")[name == "wavlm" :]
    attached, _ = gated(source, name, empty=closed, blocks=True, sparsity=0.2 if name == "wavlm" else 0.6)
    before, widths, family = (
        states(in_kind(attached.upstream, torch.float64)),
        attached.widths(),
        family_of(attached.upstream),
    )
    smaller = shrink(attached)
    assert difference(before, states(smaller)) <= 1e-9
    structure = structure_of(smaller, family)
    assert structure.widths == widths and widths.feed_forward_blocks[1] == 0
    assert sum(parameters(structure).values()) + structure.unused == sum(p.numel() for p in smaller.parameters())
    path = tmp_path / "shrunk.safetensors"
    write_shrunk(path, smaller.float(), family, base=base, upstream=source["upstream"])
    again = load_upstream({**source, "shrunk": str(path)}).upstream
    assert difference(before, states(again)) <= 1e-5
    added = {}
    for index, layer in enumerate(again.get_submodule(family.layers)):
        for kind, module in (("attention", family.attention[-1]), ("feed_forward", family.feed_forward[-1])):
            keep = lambda module, args, out, key=(kind, index): added.update({key: out})  # noqa: E731
            layer.get_submodule(module).register_forward_hook(keep)
    states(again)
    for (kind, index), out in added.items():
        assert bool(out.any()) == bool(getattr(widths, f"{kind}_blocks")[index])
    assert ("feed_forward", 1) in added


@pytest.mark.parametrize(
    "conf",
    [{"method": "omp_units"}, {"method": "uniform"}, {"method": "uniform", "layers": 1}],
    ids=["omp_units", "uniform", "layers"],
)
@pytest.mark.parametrize("name", STYLES)
def test_units_that_were_closed_at_once(name, conf, toy_upstreams):
    """Without gates that scale, the smaller model has the weights as they were."""
    upstream = load_upstream(toy_upstreams[name]).upstream
    attached = attach(upstream, {**conf, "sparsity": 0.6, "start": "x"})
    attached.begin()
    before, widths = states(upstream), attached.widths()
    smaller = shrink(attached)
    assert difference(before, states(smaller)) <= 1e-5
    assert structure_of(smaller, family_of(smaller)).widths == widths != attached.structure.widths
    assert widths.attention_blocks == widths.feed_forward_blocks == ((1, 0) if "layers" in conf else (1, 1))


@pytest.mark.parametrize("name", STYLES)
def test_counts_of_the_smaller_model(name, toy_upstreams):
    attached, _ = gated(toy_upstreams[name], name)
    smaller = shrink(attached)
    counted = counted_by_torch(smaller, 1.0)
    assert counted == sum(macs(structure_of(smaller, family_of(smaller)), 1.0).values())
    assert counted == sum(macs(attached.structure, 1.0, attached.widths()).values())


class TestFile:
    @pytest.fixture
    def shrunk(self, toy_upstreams, tmp_path):
        """make(name) -> (frontend_conf with a shrunk upstream, its hidden states)."""

        def make(name):
            source = toy_upstreams[name]
            base = hexadecimal(fingerprint(load_upstream(source)))
            attached, _ = gated(source, name, empty=NO_UNITS)
            smaller = shrink(attached)
            path = tmp_path / f"{name}.safetensors"
            write_shrunk(path, smaller, family_of(smaller), base=base, upstream=source["upstream"])
            return {**source, "shrunk": str(path)}, states(smaller)

        return make

    @pytest.mark.parametrize("name", STYLES)
    def test_rebuilds_by_itself(self, name, shrunk):
        source, before = shrunk(name)
        assert all(torch.equal(a, b) for a, b in zip(before, states(load_upstream(source).upstream)))

    @pytest.mark.parametrize("name", ["wav2vec2_large", "hf_wav2vec2", "espnet_hubert"])
    def test_pruned_again(self, name, shrunk, tmp_path):
        """Gates on what is left, a second extraction, and a file that still belongs to the first base."""
        source, _ = shrunk(name)
        attached, upstream = gated(source, name, sparsity=0.2, seed=5)
        before = states(attached.upstream)
        smaller = shrink(attached)
        assert difference(before, states(smaller)) <= 1e-5
        with safe_open(source["shrunk"], "pt") as file:
            base = file.metadata()["base"]
        again = {**source, "shrunk": str(tmp_path / "again.safetensors")}
        write_shrunk(tmp_path / "again.safetensors", smaller, family_of(smaller), base=base, upstream="toy")
        assert difference(before, states(load_upstream(again).upstream)) <= 1e-5

    def test_another_upstream(self, shrunk, toy_upstreams):
        source, _ = shrunk("wav2vec2")
        for other in ("hubert", "hf_whisper"):
            with pytest.raises(InputError, match=r"made from upstream 'wav2vec2_custom' with fingerprint .* but this is"):
                load_upstream({**toy_upstreams[other], "shrunk": source["shrunk"]})

    def test_bad_files(self, shrunk, tmp_path):
        source, _ = shrunk("wav2vec2")
        path = tmp_path / "wav2vec2.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="cannot be read"):
            load_upstream(source)
        path.unlink()
        with pytest.raises(InputError, match="shrunk is '.*', and there is no such file"):
            load_upstream(source)
        save_file({"a": torch.zeros(1)}, path)
        with pytest.raises(InputError, match="has format None, expected 's3router-shrunk-1'"):
            load_upstream(source)

    def test_sizes_that_do_not_fit(self, shrunk):
        source, _ = shrunk("wav2vec2")
        with safe_open(source["shrunk"], "pt") as file:
            facts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        widths = json.loads(facts["widths"])
        widths["heads"] = [1, 1]
        save_file(tensors, source["shrunk"], metadata=facts | {"widths": json.dumps(widths)})
        with pytest.raises(InputError, match=r"does not fit its own sizes, for example .*self_attn"):
            load_upstream(source)


def test_a_family_that_is_not_counted(toy_upstreams):
    """Refused when the method is attached, before training."""
    with pytest.raises(InputError, match="layers of conformer upstreams hold more than attention"):
        gated(toy_upstreams["conformer"], "conformer")


def test_load_shrunk_names_its_option(toy_upstreams, tmp_path):
    upstream = load_upstream(toy_upstreams["hubert"])
    with pytest.raises(InputError, match="an option is .*nothing.safetensors"):
        load_shrunk(
            upstream.upstream,
            family_of(upstream.upstream),
            tmp_path / "nothing.safetensors",
            base="",
            upstream="",
            option="an option",
        )
