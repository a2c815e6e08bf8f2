"""A bank: many routes on one base, which comes back bit for bit."""

import random
import re
import shutil
import threading
from dataclasses import replace

import pytest
import torch
from toy_routes import edit

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.route import outputs, speech_like, write_experiment
from espnet_s3router.plugin.deployment.route_model import load_model
from espnet_s3router.routes import open_route, switch, write_route
from espnet_s3router.serving import Bank, changes

WAVE = speech_like(1.3, pitch=150.0)
METHODS = {
    "routing": {"method": "routing", "sparsity": 0.2, "targets": "all"},
    "units": {"method": "routing", "sparsity": 0.25, "ranking": "output_units"},
    "norms": {"method": "routing", "sparsity": 0.1, "train_norms": True, "train_biases": True},
    "magnitude": {"method": "magnitude", "sparsity": 0.2},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "rank": 2},
    "bitfit": {"method": "bitfit"},
    "candidates": {"method": "routing", "sparsity": 0.2, "candidates": 0.4},
    "random candidates": {"method": "routing", "sparsity": 0.2, "candidates": 0.4, "candidates_from": "random"},
    "bitdelta": {"method": "bitdelta", "scales": "row", "rest": "vectors", "start": "x"},
}


@pytest.fixture
def routes(trained_like, tmp_path):
    """write(**{name: mask_conf}) -> folder of a route each, all on the same base."""

    def write(frontends=None, **confs):
        folder = tmp_path / "routes"
        for seed, (name, mask_conf) in enumerate(confs.items()):
            options = {"frontend": (frontends or {}).get(name)}
            files = trained_like(name=f"exp_{name}", seed=seed, mask_conf=mask_conf, **options)
            folder.mkdir(exist_ok=True)
            write_experiment(*files, folder / f"{name}.route", metadata={"language": name})
        return folder

    return write


def bits(model):
    """The parameters of a model as integers, so that -0.0 is not 0.0."""
    return [parameter.detach().clone().view(torch.int32) for parameter in model.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_method_gives_the_outputs_of_its_route_alone(routes):
    folder = routes(**METHODS)
    bank = Bank.from_dir(folder)
    assert bank.names == sorted(METHODS) and not bank.broken
    for name in [*METHODS, *reversed(METHODS)]:
        expected = outputs(load_model(folder / f"{name}.route"), WAVE)
        assert torch.equal(outputs(bank.use(name), WAVE), expected), name


def test_layers_and_layer_weights_belong_to_the_route(routes):
    frontends = {"sum": {"multilayer_feature": True}, "low": {"layer": 1}}
    confs = {"sum": METHODS["routing"], "low": METHODS["head_only"], "top": METHODS["routing"]}
    folder = routes(frontends, **confs)
    bank = Bank.from_dir(folder)
    for name in ("sum", "low", "top", "sum"):
        assert torch.equal(outputs(bank.use(name), WAVE), outputs(load_model(folder / f"{name}.route"), WAVE)), name


@pytest.mark.parametrize(("ready_mb", "threads"), [(0, 1), (256, 1), (256, 2)])
def test_the_base_comes_back_bit_for_bit(ready_mb, threads, routes, monkeypatch):
    """Chunks are small, so that tensors have several; the last one is shorter. Several threads work on whole tensors."""
    monkeypatch.setattr(switch, "CHUNK", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    bank = Bank.from_dir(routes(**METHODS), ready_mb=ready_mb)
    bank.restore()
    before = bits(bank.frontend.expert)
    choose = random.Random(0)
    for _ in range(60):
        bank.use(choose.choice(bank.names))
    bank.use("routing")
    assert not same(bits(bank.frontend.expert), before)
    bank.restore()
    assert same(bits(bank.frontend.expert), before) and bank.current is None


@pytest.mark.parametrize("method", ["routing", "lora", "bitdelta"])
def test_ready_routes_count_all_that_they_hold(method, routes):
    """As much as the tensors of the file, and more where a mask becomes positions and values."""
    bank = Bank.from_dir(routes(**{method: METHODS[method]}))
    held = sum(tensor.nbytes for tensor in bank.file(method).part("upstream").values())
    assert bank.changes(method).nbytes() >= held and bank.changes(method).nbytes() > 0


@pytest.mark.parametrize("applied", [None, "b"])
def test_a_failure_while_a_route_is_applied_leaves_the_base(abc, monkeypatch, applied):
    """Also where it replaces another route. Chunks are small here, so that a tensor has several."""
    monkeypatch.setattr(switch, "CHUNK", 64)
    bank = Bank.from_dir(abc)
    bank.restore()
    before = bits(bank.frontend.expert)
    assert len(bank.changes("a").removed) > 3
    if applied:
        bank.use(applied)
    calls, remove = iter(range(1000)), switch.Removed.remove

    def fail_once(*parts):
        if next(calls) == 2:
            raise MemoryError
        remove(*parts)

    monkeypatch.setattr(switch.Removed, "remove", fail_once)
    with pytest.raises(MemoryError):
        bank.use("a")
    assert same(bits(bank.frontend.expert), before) and bank.current is None


@pytest.mark.parametrize("method", ["lora", "bitdelta"])
def test_updates_are_computed_where_the_base_lies(method, routes):
    """The device ``meta`` stands for a GPU: it refuses tensors of another device, too."""
    file = open_route(routes(**{method: METHODS[method]}) / f"{method}.route")
    base = {name: p.to("meta") for name, p in Bank.from_dir(file.path.parent).frontend.expert.named_parameters()}
    tensors = file.part("upstream")
    found = changes.low_rank_updates(file, tensors, base) | changes.sign_updates(file, tensors, base)
    assert found
    for name, update in found.items():
        new = update(base[name])
        assert new.device.type == "meta" and new.shape == base[name].shape


def test_only_the_last_route_stays_ready_without_memory_for_more(abc):
    bank = Bank.from_dir(abc, ready_mb=0)
    for name in ("a", "b", "a"):
        bank.use(name)
        assert list(bank._ready) == [name]


def test_routes_come_and_go(abc, tmp_path):
    bank = Bank()
    with pytest.raises(InputError, match="holds no route. Add one"):
        bank.frontend  # noqa: B018
    assert bank.add(abc / "a.route") == "a"
    bank.use("a")
    expected = outputs(bank.model("a"), WAVE)
    assert bank.add(abc / "b.route", "other") == "other"
    assert bank.current == "a" and torch.equal(outputs(bank.use("a"), WAVE), expected)
    bank.drop("other")
    with pytest.raises(InputError, match="there is no route 'other', expected one of a"):
        bank.use("other")
    before = Bank()
    before.add(abc / "b.route")
    before.restore()
    bank.drop("a")
    assert same(bits(bank.frontend.expert), bits(before.frontend.expert))
    with pytest.raises(InputError, match="expected one of none"):
        bank.use("a")


def test_a_replaced_route_is_the_new_one(abc, tmp_path):
    bank = Bank.from_dir(abc)
    bank.use("a")
    shutil.copyfile(abc / "b.route", tmp_path / "a.route")
    bank.add(tmp_path / "a.route")
    assert torch.equal(outputs(bank.use("a"), WAVE), outputs(load_model(abc / "b.route"), WAVE))


def test_blocks_may_be_nested(abc, tmp_path):
    """Also a route that is added within a block, or refused, leaves the route of the block applied."""
    bank = Bank.from_dir(abc, ready_mb=0)
    expected = {name: outputs(load_model(abc / f"{name}.route"), WAVE) for name in "abc"}
    (tmp_path / "x.route").write_bytes((abc / "b.route").read_bytes())
    with bank.using("a") as outer:
        with bank.using("b") as inner:
            assert torch.equal(outputs(inner, WAVE), expected["b"])
            with pytest.raises(InputError, match="there is no route 'y'"), bank.using("y"):
                pass
            assert torch.equal(outputs(inner, WAVE), expected["b"])
        assert torch.equal(outputs(outer, WAVE), expected["a"])
        bank.add(tmp_path / "x.route")
        assert torch.equal(outputs(outer, WAVE), expected["a"])
        with bank.using("c"):
            bank.drop("c")
        assert torch.equal(outputs(outer, WAVE), expected["a"])
    assert bank.current == "a"


class TestBadInput:
    def test_a_name_that_asks_for_the_language(self, abc):
        (abc / "a.route").rename(abc / "auto.route")
        bank = Bank.from_dir(abc)
        assert bank.names == ["b", "c"] and "no route can be named auto" in bank.broken["auto"]

    @pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
    def test_a_device_that_is_not_there(self, device):
        with pytest.raises(InputError, match=f"the device is '{device}', which cannot be used here.*Expected cpu, or cuda"):
            Bank(device=device)

    def test_unknown_names_are_refused_with_a_list(self, abc):
        bank = Bank.from_dir(abc)
        with pytest.raises(InputError, match="there is no route 'aa', expected one of a, b, c. Did you mean a?"):
            bank.use("aa")

    def test_a_broken_file_is_named_and_the_others_are_served(self, abc):
        content = bytearray((abc / "a.route").read_bytes())
        content[-3] ^= 1
        (abc / "a.route").write_bytes(content)
        bank = Bank.from_dir(abc)
        assert bank.names == ["b", "c"] and list(bank.broken) == ["a"]
        assert "a.route: is damaged" in bank.broken["a"]
        assert torch.equal(outputs(bank.use("b"), WAVE), outputs(load_model(abc / "b.route"), WAVE))

    def test_metadata_without_a_method(self, routes):
        """The method is that of the configuration. The others are served, whatever the metadata say."""
        folder = routes(a=METHODS["lora"], b=METHODS["routing"], c=METHODS["head_only"])
        expected = {name: outputs(load_model(folder / f"{name}.route"), WAVE) for name in "abc"}
        for name in "ac":
            edit(folder / f"{name}.route", lambda header, _: header.update(metadata={"language": "nl", "task": "asr"}))
        bank = Bank.from_dir(folder)
        assert bank.names == ["a", "b", "c"]
        assert all(torch.equal(outputs(bank.use(name), WAVE), expected[name]) for name in "abc")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda config: config.update(decoding=[1]), r"decoding in config is \[1\], expected dict"),
            (lambda config: config.update(token_type={}), "token_type in config is {}, expected str"),
            (lambda config: config.update(frontend_conf=[1]), r"its frontend_conf is \[1\], expected some of"),
            (lambda config: config["frontend_conf"].update(frontend_conf=5), "its frontend_conf is .*expected some of"),
            (lambda config: config["frontend_conf"]["mask_conf"].update(method=[1]), r"method is \[1\], expected one of"),
        ],
    )
    def test_a_configuration_of_another_type(self, change, message, abc):
        edit(abc / "a.route", lambda header, _: change(header["config"]))
        bank = Bank.from_dir(abc)
        assert bank.names == ["b", "c"] and re.search(message, bank.broken["a"])

    def test_low_rank_updates_of_another_shape(self, routes):
        def widen(header, tensors):
            name = next(name for name in tensors if name.endswith(".0.a"))
            tensors[name] = torch.nn.functional.pad(tensors[name], (0, 1))

        folder = routes(a=METHODS["lora"], b=METHODS["routing"])
        edit(folder / "a.route", widen)
        bank = Bank.from_dir(folder)
        assert bank.names == ["b"]
        assert "0.a has shape (2, 17), expected (2, 16)" in bank.broken["a"]

    def test_routes_that_change_nothing(self, routes):
        """Masks that keep all, an update of zeros, and biases of the base, each with a head."""
        folder = routes(**{name: METHODS[name] for name in ("routing", "lora", "bitfit", "head_only")})
        base = dict(Bank.from_dir(folder).frontend.expert.named_parameters())
        route = open_route(folder / "routing.route").decode()
        masks = {name: torch.ones_like(mask) for name, mask in route.masks.items()}
        write_route(folder / "routing.route", replace(route, masks=masks))
        edit(folder / "lora.route", lambda _, tensors: [t.zero_() for name, t in tensors.items() if name.endswith(".0.b")])
        names = [
            name.removeprefix("upstream/") for name in open_route(folder / "bitfit.route").tensors if "upstream" in name
        ]
        edit(folder / "bitfit.route", lambda _, tensors: tensors.update({f"upstream/{n}": base[n].clone() for n in names}))
        bank = Bank.from_dir(folder)
        assert bank.names == ["head_only"] and sorted(bank.broken) == ["bitfit", "lora", "routing"]
        assert all("the route is empty" in reason for reason in bank.broken.values())

    def test_no_usable_file(self, abc, tmp_path):
        with pytest.raises(InputError, match=r"holds no \*.route file"):
            Bank.from_dir(tmp_path)
        for path in abc.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(InputError, match="none of its 3 routes can be used.*truncated"):
            Bank.from_dir(abc)

    def test_a_base_that_is_not_there(self, abc):
        lost = {"path_or_url": "lost/folder.pt"}
        with pytest.raises(InputError, match="a.route: its base cannot be loaded.*lost/folder.pt.*give the base"):
            Bank.from_dir(abc, lost)

    def test_a_method_that_adds_modules(self, routes):
        folder = routes(adapter={"method": "houlsby", "bottleneck": 3}, b=METHODS["routing"])
        bank = Bank.from_dir(folder)
        assert bank.names == ["b"]
        assert "method houlsby adds modules to the base" in bank.broken["adapter"]
        assert "Load it alone" in bank.broken["adapter"]

    def test_another_base(self, abc, trained_like, tmp_path):
        files = trained_like(name="other", family="wav2vec2", mask_conf=METHODS["routing"])
        write_experiment(*files, tmp_path / "z.route")
        bank = Bank.from_dir(abc)
        model, expected = bank.use("a"), outputs(load_model(abc / "a.route"), WAVE)
        with pytest.raises(InputError, match="z.route: "):
            bank.add(tmp_path / "z.route")
        assert bank.names == ["a", "b", "c"] and bank.current == "a"
        assert torch.equal(outputs(model, WAVE), expected)


def test_a_route_that_another_thread_drops_meanwhile(abc):
    class Dropping(dict):
        """Forgets a name as soon as someone has asked whether it is there."""

        def __contains__(self, name):
            found = super().__contains__(name)
            self.pop(name, None)
            return found

    bank = Bank.from_dir(abc)
    bank._files = Dropping(bank._files)
    assert bank.file("a").path.name == "a.route"
    bank.drop("a")
    with pytest.raises(InputError, match="there is no route 'a'"):
        bank.file("a")


def test_threads_take_turns(abc):
    bank = Bank.from_dir(abc, ready_mb=0)
    expected = {name: outputs(load_model(abc / f"{name}.route"), WAVE) for name in "abc"}
    wrong = []

    def work(seed):
        choose = random.Random(seed)
        for _ in range(12):
            name = choose.choice("abc")
            with bank.using(name) as model:
                if not torch.equal(outputs(model, WAVE), expected[name]):
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
