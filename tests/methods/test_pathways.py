"""pathways: masks of several languages on shared weights, against separate runs and against hand-made gradients."""

import pytest
import torch
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask
from espnet_s3router.methods import attach, resolve
from espnet_s3router.methods.pathways import state_of_language

ROUTING = {"method": "routing", "sparsity": 0.3}
PATHWAYS = {"method": "pathways", "sparsity": 0.3, "languages": ["en", "es"]}
FC1 = "model.encoder.layers.0.fc1"
SITE = f"{FC1}.parametrizations.weight"
ORDER = ("en", "es", "es", "en", "es", "en", "en")
"""The language of each batch."""


class Run:
    """A toy run on batches of its own seeds."""

    def __init__(self, **mask_conf):
        self.expert = toy_expert()
        self.attached = attach(self.expert, mask_conf)
        self.attached.begin()
        self.optimizer = torch.optim.Adam(self.attached.trained.values(), lr=0.02)

    def loss(self, batch):
        generator = torch.Generator().manual_seed(batch)
        out = self.expert(torch.randn(2, 320 * 7, generator=generator))
        return (out * torch.randn(out.shape, generator=generator)).sum()

    def step(self, batch):
        self.optimizer.zero_grad()
        self.loss(batch).backward()
        self.optimizer.step()
        self.attached.update += 1
        self.attached.step(self.attached.update, self.optimizer)


def scores_of(run, language=None):
    last = "scores" if language is None else f"by_language.{language}"
    return {name.removesuffix(last): p for name, p in run.expert.named_parameters() if name.endswith(last)}


@pytest.mark.parametrize(
    "more", [{}, {"train_weights": True, "estimator": "signed", "init": "zeros"}], ids=["frozen", "weights"]
)
def test_one_language_is_routing(more):
    """Bit for bit, over several updates."""
    ours, theirs = Run(**PATHWAYS | {"languages": ["en"]} | more), Run(**ROUTING | more)
    for batch in range(6):
        ours.step(batch)
        theirs.step(batch)
    expected = scores_of(theirs)
    found = scores_of(ours, "en")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert torch.equal(ours.loss(99), theirs.loss(99))
    assert ours.attached.bytes_added() == theirs.attached.bytes_added()


def test_languages_on_frozen_weights_are_separate_runs():
    """Batches of another language leave scores and the state of Adam as they are, so nothing moves by momentum. Each
    language learns what a run of its own learns from its batches."""
    joint = Run(**PATHWAYS)
    alone = {language: Run(**ROUTING) for language in ("en", "es")}
    for batch, language in enumerate(ORDER):
        others = {name: p.clone() for other in {"en", "es"} - {language} for name, p in scores_of(joint, other).items()}
        joint.attached.use(language)
        joint.step(batch)
        alone[language].step(batch)
        (other,) = {"en", "es"} - {language}
        assert all(p.grad is None and torch.equal(p, others[name]) for name, p in scores_of(joint, other).items())
    for language, run in alone.items():
        expected, found = scores_of(run), scores_of(joint, language)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        joint.attached.use(language)
        assert torch.equal(joint.loss(99), run.loss(99))
    masks = [run.attached.kept()[f"{FC1}.weight"] for run in alone.values()]
    assert not torch.equal(*masks)


def test_shared_weights_learn_under_the_mask_of_the_batch():
    """The gradient of a weight is that of the masked weight where the mask of the batch's language keeps it, else zero."""
    run = Run(**PATHWAYS, train_weights=True)
    with torch.no_grad():
        for scores in scores_of(run, "es").values():
            scores.copy_(scores.flip(0))
    original = run.expert.get_parameter(f"{SITE}.original")
    for language in ("en", "es"):
        run.attached.use(language)
        mask = topk_mask(scores_of(run, language)[f"{SITE}.0."], 0.3)
        plain = toy_expert()
        with torch.no_grad():
            for name, kept in run.attached.kept().items():
                plain.get_parameter(name).mul_(kept)
        generator = torch.Generator().manual_seed(5)
        out = plain(torch.randn(2, 320 * 7, generator=generator))
        (out * torch.randn(out.shape, generator=generator)).sum().backward()
        run.optimizer.zero_grad()
        run.loss(5).backward()
        torch.testing.assert_close(original.grad, plain.get_parameter(f"{FC1}.weight").grad * mask)
        assert (original.grad[~mask] == 0).all() and (original.grad != 0).any()


def test_a_switch_selects_nothing_again():
    run = Run(**PATHWAYS)
    masked = run.attached.masks[f"{FC1}.weight"]
    before = masked.selections
    for language in ("en", "es", "en", "es"):
        run.attached.use(language)
        run.loss(0)
    assert masked.selections - before <= 2


def test_bytes_hold_the_masks_of_all_languages():
    bits = sum(-(-mask.numel() // 8) for mask in Run(**ROUTING).attached.kept().values())
    assert Run(**PATHWAYS).attached.bytes_added() == 2 * bits


def test_the_state_of_one_language_is_that_of_routing():
    """A plain routing model that loads it gives the outputs of the joint model in that language."""
    joint = Run(**PATHWAYS)
    for batch, language in enumerate(ORDER):
        joint.attached.use(language)
        joint.step(batch)
    for language in ("en", "es"):
        plain = Run(**ROUTING)
        plain.expert.load_state_dict(state_of_language(joint.expert.state_dict(), language))
        joint.attached.use(language)
        assert torch.equal(plain.loss(99), joint.loss(99))
    with pytest.raises(InputError, match="the language is 'ru', expected one of en, es"):
        state_of_language(joint.expert.state_dict(), "ru")
    with pytest.raises(InputError, match="expected one of none"):
        state_of_language(plain.expert.state_dict(), "en")


def test_first_masks_of_another_run_are_those_of_all_languages():
    expert = toy_expert()
    attached = attach(expert, PATHWAYS)
    generator = torch.Generator().manual_seed(1)
    saliency = {name: torch.rand(mask.shape, generator=generator) for name, mask in attached.kept().items()}
    attached.begin(saliency=saliency)
    for language in ("en", "es"):
        attached.use(language)
        assert all(torch.equal(mask, topk_mask(saliency[name], 0.3)) for name, mask in attached.kept().items())


def test_one_mask_for_all_languages():
    """Every language moves the same scores, as in a routing run on all batches. The state of each is that of this run."""
    shared = Run(**PATHWAYS, heads="own", masks="shared")
    theirs = Run(**ROUTING)
    for batch, language in enumerate(ORDER):
        shared.attached.use(language)
        shared.step(batch)
        theirs.step(batch)
    expected = scores_of(theirs)
    assert scores_of(shared).keys() == expected.keys()
    for language in ("en", "es"):
        shared.attached.use(language)
        assert torch.equal(shared.loss(99), theirs.loss(99))
    assert shared.attached.bytes_added() == theirs.attached.bytes_added()
    head = {f"ctc.ctc_lo.by_language.{language}.bias": torch.ones(1) for language in ("en", "es")}
    state = state_of_language(shared.expert.state_dict() | head, "es")
    assert state.pop("ctc.ctc_lo.bias") == 1
    plain = Run(**ROUTING)
    plain.expert.load_state_dict(state)
    assert torch.equal(plain.loss(99), theirs.loss(99))


def test_one_mask_and_one_head_are_refused():
    with pytest.raises(InputError, match="masks is 'shared', expected own with heads: shared, or method routing"):
        resolve(PATHWAYS | {"masks": "shared"})


def test_a_model_without_a_chosen_language_is_refused():
    """It would decode every language with the masks of the first one."""
    run = Run(**PATHWAYS)
    with pytest.raises(InputError, match="has masks of en, es, and none is chosen"):
        run.loss(0)
    run.attached.use("es")
    run.loss(0)


def test_an_unknown_language():
    with pytest.raises(InputError, match="the language is 'ru', expected one of en, es"):
        Run(**PATHWAYS).attached.use("ru")


@pytest.mark.parametrize("languages", [[], ["en", "en"], ["en", 3], "en", ["a.b"], ["a b"], ["a/b"], [""]], ids=str)
def test_languages_that_cannot_be(languages):
    with pytest.raises(InputError, match="languages is .*expected one or more different names"):
        resolve(PATHWAYS | {"languages": languages})


def test_a_language_whose_code_pytorch_uses():
    """Tongan is ``to``: a module has that name already."""
    with pytest.raises(InputError, match="expected another name than to, which PyTorch uses, for example to_"):
        resolve(PATHWAYS | {"languages": ["en", "to"]})
    expert = toy_expert()
    assert len(attach(expert, PATHWAYS | {"languages": ["en", "to_"]}).masks) > 0


def test_a_global_ranking_is_refused():
    with pytest.raises(InputError, match="ranking is 'global', expected another ranking"):
        resolve(PATHWAYS | {"ranking": "global"})
