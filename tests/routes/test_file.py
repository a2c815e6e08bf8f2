"""Route files: what is written is read, bytes are reproducible, and every wrong file gets its message."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from toy_routes import TOKENS, edit, head, masks, route, weights

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, topk_mask
from espnet_s3router.masks.code_length import entropy_bytes
from espnet_s3router.routes import container, describe, open_route, read_route, write_route
from espnet_s3router.routes.file import to_bytes
from espnet_s3router.routes.route import first_difference


@pytest.fixture
def written(tmp_path):
    """A route file with all codes."""
    write_route(tmp_path / "a.route", route(), weights())
    return tmp_path / "a.route"


def test_what_is_written_is_read(written):
    read = read_route(written, weights())
    assert first_difference(route(), read) is None
    assert read.part("upstream")["norm.weight"].dtype == torch.float16
    codecs = [mask.codec for mask in open_route(written).coded.values()]
    assert codecs == ["full", "bits", "units", "gaps", "patterns", "buckets"]


@given(st.integers(0, 10**6), st.floats(0, 0.99), st.floats(0, 0.99))
@settings(max_examples=20)
def test_any_masks(seed, first, second):
    import tempfile

    generator = torch.Generator().manual_seed(seed)
    shares = {"b.weight": first, "a.weight": second}
    drawn = {name: torch.rand(30, 20, generator=generator) >= share for name, share in shares.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_route(f"{folder}/x.route", route(masks=drawn))
        assert first_difference(read_route(f"{folder}/x.route"), route(masks=drawn)) is None


def test_same_route_same_bytes(written):
    backwards = route(masks=dict(reversed(masks().items())), metadata=dict(reversed(route().metadata.items())))
    assert to_bytes(backwards, weights()) == written.read_bytes()


def test_safetensors_reads_the_file_without_this_package(written):
    with safe_open(written, "pt") as file:
        assert torch.equal(file.get_tensor("head/ctc.ctc_lo.weight"), head()["head/ctc.ctc_lo.weight"])
        assert list(file.metadata()) == ["s3router_route"]
        assert json.loads(file.metadata()["s3router_route"])["tokens"] == TOKENS


def test_a_refused_file_leaves_the_old_one(written, tmp_path):
    before = written.read_bytes()

    def refuse(file):
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        write_route(written, route(masks={}), check=refuse)
    assert written.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.route"]


def test_a_file_that_reads_back_differently_is_not_written(tmp_path, monkeypatch):
    from espnet_s3router.routes import file

    monkeypatch.setattr(file, "encode", lambda mask, *others: encode(~mask, *others))
    encode = __import__("espnet_s3router.routes.codec", fromlist=["encode"]).encode
    with pytest.raises(InputError, match="not those that were coded"):
        write_route(tmp_path / "a.route", route())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": {}, "tensors": {}, "tokens": []}, "the route is empty: it removes no weight and holds no tensor"),
        ({"masks": {"a": torch.ones(4, 4).bool()}, "tensors": {}, "tokens": []}, "the route is empty"),
        ({"tokens": TOKENS[:-1]}, r"token list has 5 tokens, but head/ctc.ctc_lo.weight has shape \(6, 16\)"),
        ({"tensors": {}}, "6 tokens but no head"),
        ({"tensors": {"head/ctc.ctc_lo.bias": torch.tensor(1.0)}}, r"has shape \(\). Expected one row"),
        ({"tensors": head() | {"head/x": torch.tensor([1.0, float("nan")])}}, "1 of 2 values of head/x are NaN"),
        ({"tensors": head() | {"head/x": torch.tensor(float("inf"))}}, "1 of 1 values of head/x are NaN or infinite"),
        ({"tensors": head() | {"other/x": torch.zeros(1)}}, "other/x of type torch.float32 belongs to no part"),
        ({"tensors": head() | {"head/x": torch.zeros(1).bfloat16()}}, "head/x of type torch.bfloat16"),
        ({"base": "abc"}, "base is 'abc', expected 64 hexadecimal digits"),
        ({"metadata": {"metrics": {"cer": float("nan")}}}, "cannot be written as JSON"),
        ({"metadata": {"when": object()}}, "cannot be written as JSON"),
        ({"tokens": [*TOKENS[:-1], "\ud800"]}, "cannot be written as JSON"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_route(tmp_path / "a.route", route(**changes))
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_routes(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x.route"
    with pytest.raises(InputError, match="x.route: cannot be read: No such file"):
        read_route(path)
    for content, message in ((b"", "too few"), (b"abc", "too few"), (b"\2" + b"\0" * 7 + b"[]", "header is unreadable")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_route(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="a safetensors file but no route"):
        read_route(path)
    save_file({"a": torch.zeros(2)}, path, {container.KEY: "{}"})
    with pytest.raises(InputError, match="holds no checksum"):
        read_route(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_truncated(written, kept):
    content = written.read_bytes()
    written.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=f"{written}: is truncated"):
        read_route(written, weights())


def test_one_bit_anywhere(written):
    content = written.read_bytes()
    for place in np.linspace(8, len(content) - 1, 50).astype(int):
        written.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match=f"{written}: "):
            read_route(written, weights())
    written.write_bytes(content[:-1] + bytes([content[-1] ^ 64]))
    with pytest.raises(InputError, match="is damaged: its checksum is .* Get another copy"):
        read_route(written, weights())


SITE = "layers.1.weight"
EDITS = {
    "newer format": (lambda h, t: h.update(format=3), "has format 3, expected at most 2.*Upgrade"),
    "no format": (lambda h, t: h.pop("format"), "field format is None, expected int"),
    "newer coder": (lambda h, t: h.update(coder_version="9.0.1"), "constriction 9.0.1, installed is constriction .*Install"),
    "other coder": (lambda h, t: h.update(coder="zip"), "coded by zip"),
    "missing mask": (lambda h, t: t.pop(f"masks/{SITE}"), f"mask of {SITE} is missing"),
    "extra mask": (lambda h, t: t.update({"masks/x": torch.zeros(2, dtype=torch.uint8)}), "extra mask masks/x"),
    "missing site": (lambda h, t: h["sites"].pop(1), f"extra mask masks/{SITE}"),
    "site twice": (lambda h, t: h["sites"].append(h["sites"][0]), "is twice in the list"),
    "mask of floats": (lambda h, t: t.update({f"masks/{SITE}": torch.zeros(3)}), "is torch.float32 .*expected bytes"),
    "other shape": (lambda h, t: h["sites"][1][1].reverse(), "not those that were coded"),
    "negative shape": (lambda h, t: h["sites"][1].__setitem__(1, [-48, -64]), r"no \[name, shape, codec, zeros\]"),
    "other size": (lambda h, t: h["sites"][1].__setitem__(1, [4, 4]), f"mask of {SITE}: "),
    "other count": (lambda h, t: h["sites"][3].__setitem__(3, 3), "mask of layers.3.weight: the code"),
    "other codec": (lambda h, t: h["sites"][1].__setitem__(2, "lzma"), "codec is 'lzma', expected one of"),
    "swapped masks": (lambda h, t: h["sites"][1].__setitem__(0, "layers.0.weight"), "twice in the list"),
    "nan": (
        lambda h, t: t["head/ctc.ctc_lo.weight"].fill_(float("nan")),
        "96 of 96 values of head/ctc.* are NaN",
    ),
    "tokens": (lambda h, t: h["tokens"].pop(), "token list has 5 tokens"),
    "numbers as tokens": (lambda h, t: h.update(tokens=[1] * 6), "holds other things than texts"),
    "no configuration": (lambda h, t: h.update(config=[]), "field config is .*, expected dict"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_and_signed_again(name, written):
    change, message = EDITS[name]
    edit(written, change)
    with pytest.raises(InputError, match=message) as raised:
        read_route(written, weights())
    assert str(raised.value).startswith(str(written))


def test_masks_of_another_decoder_are_refused(written):
    """As if a new version of the coder read the same code differently."""

    def swap(header, tensors):
        names = ["masks/layers.1.weight", "masks/layers.6.weight"]
        header["sites"].append(["layers.6.weight", *header["sites"][1][1:]])
        tensors[names[1]] = tensors[names[0]].flip(0).clone()

    edit(written, swap)
    with pytest.raises(InputError, match="the decoded masks are not those that were coded. Install constriction"):
        read_route(written, weights())


def test_base(written):
    file = open_route(written)
    shapes = file.shapes()
    file.check_base(route().base, shapes)
    with pytest.raises(InputError, match=r"another base: fingerprint 0123456789ab…, this base has ffffffffffff"):
        file.check_base("f" * 64, shapes)
    with pytest.raises(InputError, match=r"mask of layers.1.weight has shape \(48, 64\), expected \(48, 65\)"):
        file.check_base(route().base, shapes | {SITE: (48, 65)})
    with pytest.raises(InputError, match="masks layers.1.weight, which the base does not have"):
        file.check_base(route().base, {name: shape for name, shape in shapes.items() if name != SITE})
    assert file.needs_base()
    with pytest.raises(InputError, match="layers.5.weight: the mask is coded under a prior.*give the base"):
        file.decode()
    with pytest.raises(InputError, match=r"mask of layers.5.weight: |not those that were coded"):
        file.decode(weights(seed=7))


def test_description(written):
    figures = describe(open_route(written))
    assert figures["bytes"] == written.stat().st_size == sum(figures["bytes_by_part"].values())
    assert figures["bytes_by_part"]["head"] == 4 * (6 * 16 + 6) and figures["bytes_by_part"]["upstream"] == 32
    assert figures["connections"] == 6 * 48 * 64 and figures["zeros"] == route().removed()
    assert figures["metadata"]["language"] == "mdw" and figures["tensor_types"] == ["float16", "float32"]
    assert json.loads(json.dumps(figures)) == figures
    shares = [mask["sparsity"] for mask in figures["sites"]]
    assert shares[:3] == [0.0, 0.5, 0.25] and figures["sites"][1]["entropy_bytes"] == 48 * 64 / 8


def near_weights(rule, sparsity=0.05):
    """A route whose masks remove candidates alone."""
    masks = {}
    for number, (name, weight) in enumerate(weights().items()):
        scores = torch.full((48 * 64,), 9.0)
        chosen = rule.positions(weight, name)
        scores[chosen] = torch.rand(len(chosen), generator=torch.Generator().manual_seed(number))
        masks[name] = topk_mask(scores.view(48, 64), sparsity)
    return route(masks=masks, candidates=rule)


class TestCandidates:
    @pytest.mark.parametrize("source", ["magnitude", "random"])
    def test_only_the_candidates_are_coded(self, source, tmp_path):
        """In bytes close to the entropy of their bits, which the description states."""
        rule = Candidates(share=0.25, source=source, seed=3)
        file = write_route(tmp_path / "a.route", near_weights(rule), weights())
        assert {code.codec for code in file.coded.values()} == {"candidates/gaps"}
        assert first_difference(file.decode(weights()), near_weights(rule)) is None
        entropy = entropy_bytes(154, 768)
        assert [site["entropy_bytes"] for site in describe(file)["sites"]] == [entropy] * 6
        assert entropy < entropy_bytes(154, 3072) / 1.5
        assert describe(file)["candidates"] == {"share": 0.25, "source": source, "seed": 3}
        for code in file.coded.values():
            assert len(code.data) < entropy + 8  # two words of the coder; test_codec has larger matrices

    def test_a_set_from_a_seed_needs_no_base(self, tmp_path):
        rule = Candidates(share=0.25, source="random", seed=3)
        file = write_route(tmp_path / "a.route", near_weights(rule))
        assert not file.needs_base() and first_difference(file.decode(), near_weights(rule)) is None

    def test_a_set_from_the_weights_needs_the_base(self, tmp_path):
        rule = Candidates(share=0.25)
        file = write_route(tmp_path / "a.route", near_weights(rule), weights())
        assert file.needs_base()
        with pytest.raises(InputError, match="coded for weights that follow from the base: give the base to decode it"):
            file.decode()
        with pytest.raises(InputError, match=r"not those that were coded"):
            file.decode(weights(seed=7))
        assert not write_route(tmp_path / "b.route", near_weights(rule)).needs_base()  # there was no base to code with

    def test_a_mask_that_removes_others_is_coded_as_a_whole(self, tmp_path):
        """As after a merge of routes with other candidates."""
        file = write_route(tmp_path / "a.route", route(candidates=Candidates(share=0.25)), weights())
        assert "candidates/gaps" not in {code.codec for code in file.coded.values()}
        assert torch.equal(file.decode(weights()).masks[SITE], route().masks[SITE])

    def test_older_versions_read_files_without_candidates(self, tmp_path):
        assert write_route(tmp_path / "a.route", route(), weights()).header["format"] == 1
        assert write_route(tmp_path / "a.route", near_weights(Candidates(share=0.25)), weights()).header["format"] == 2
        signs = route(tensors=head() | {"upstream/signs": torch.arange(9, dtype=torch.uint8)})
        assert write_route(tmp_path / "a.route", signs).header["format"] == 2

    @pytest.mark.parametrize(
        "rule",
        [
            {"share": 0.25, "source": "magnitude"},
            {"share": 1.0, "source": "magnitude", "seed": 0},
            {"share": "x", "source": "magnitude", "seed": 0},
            {"share": 0.25, "source": "rank", "seed": 0},
            {"share": 0.25, "source": "magnitude", "seed": None, "name": 1},
            {"share": 0.25, "source": "magnitude", "seed": 0.5},
            [0.25, "magnitude", 0],
            True,
        ],
        ids=str,
    )
    def test_broken_rules(self, rule, tmp_path):
        write_route(tmp_path / "a.route", near_weights(Candidates(share=0.25)), weights())
        edit(tmp_path / "a.route", lambda header, tensors: header.update(candidates=rule))
        if rule == {"share": 0.25, "source": "magnitude"}:  # the seed has a default
            assert open_route(tmp_path / "a.route").candidates == Candidates(share=0.25)
            return
        with pytest.raises(InputError, match="a.route: field candidates is .*, expected share, source and seed"):
            open_route(tmp_path / "a.route")

    def test_no_rule(self, tmp_path):
        write_route(tmp_path / "a.route", near_weights(Candidates(share=0.25)), weights())
        edit(tmp_path / "a.route", lambda header, tensors: header.pop("candidates"))
        with pytest.raises(InputError, match="coded for some weights alone, but no rule names them"):
            read_route(tmp_path / "a.route", weights())


def test_a_route_without_masks(tmp_path):
    adapters = replace(route(), masks={}, tensors=head() | {"upstream/a": torch.ones(3)})
    file = write_route(tmp_path / "lora.route", adapters)
    assert first_difference(file.decode(), adapters) is None
    assert describe(file)["bits_per_connection"] == 0.0
