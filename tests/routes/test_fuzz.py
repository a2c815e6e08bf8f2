"""Mutated route files: never another exception than InputError, and never a wrong mask. ``--fuzz 2000`` tries more."""

import hashlib
import json
import random
import re

import pytest
import torch
from toy_routes import route, weights

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, topk_mask
from espnet_s3router.routes import container, read_route
from espnet_s3router.routes.file import to_bytes

VALUES = [
    None,
    True,
    0,
    1,
    -1,
    7,
    2**31,
    2**63,
    0.5,
    "",
    "x",
    "gaps",
    "buckets",
    "full",
    [],
    [0],
    [3, 3],
    {},
    {"x": 1},
    "0.9.9",
]


def flip(content, rng):
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)


def truncate(content, rng):
    del content[rng.randrange(len(content)) :]


def cut(content, rng):
    place = rng.randrange(len(content))
    del content[place : place + rng.choice([1, 4, 100])]


def extend(content, rng):
    place = rng.randrange(len(content) + 1)
    content[place:place] = rng.randbytes(rng.choice([1, 4, 100]))


def overwrite(content, rng):
    place = rng.randrange(len(content))
    content[place : place + 16] = rng.randbytes(min(16, len(content) - place))


def swap_names(content, rng):
    """Two tensors of the container change their names."""
    names = re.findall(rb'"((?:masks|head|upstream)/[^"]+)":', bytes(content))
    first, second = rng.sample(names, 2)
    marked = bytes(content).replace(b'"%s":' % first, b"\0").replace(b'"%s":' % second, b'"%s":' % first)
    content[:] = marked.replace(b"\0", b'"%s":' % second)


def edit_header(content, rng):
    """A field of our header, or one within it, gets another value."""
    size = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + size])
    header = json.loads(outer["__metadata__"][container.KEY])
    place, key = header, rng.choice(list(header))
    while isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
        place = place[key]
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
    place[key] = rng.choice(VALUES)
    _put(content, size, outer, header)


def edit_container(content, rng):
    """An entry of the table of tensors gets another value."""
    size = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + size])
    entry = outer[rng.choice([name for name in outer if name != "__metadata__"])]
    entry[rng.choice(list(entry))] = rng.choice([*VALUES, "I8", "F16", "BOOL", [0, 8], [-8, 8]])
    _put(content, size, outer, None)


def _put(content, size, outer, header):
    if header is not None:
        outer["__metadata__"][container.KEY] = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    text = json.dumps(outer, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content[: 8 + size] = len(text).to_bytes(8, "little") + text


MUTATIONS = [flip, truncate, cut, extend, overwrite, swap_names, edit_header, edit_header, edit_container]


def sign(content):
    """Put a right checksum into the file, if the place of the checksum is still there."""
    found = re.search(rb'checksum\\":\\"([0-9a-f]{64})', bytes(content))
    if found:
        content[slice(*found.span(1))] = b"0" * 64
        content[slice(*found.span(1))] = hashlib.sha256(content).hexdigest().encode()


ROUTES = {
    "all weights": route(),
    "candidates": route(
        candidates=Candidates(share=0.4),
        masks={name: topk_mask(weight, 0.1 * number) for number, (name, weight) in enumerate(weights().items())},
    ),
}


@pytest.fixture(params=ROUTES)
def expected(request):
    return ROUTES[request.param]


@pytest.fixture
def original(expected):
    return to_bytes(expected, weights())


def test_signing_is_right(original, tmp_path):
    content = bytearray(original)
    sign(content)
    assert content == original


def test_mutated_files(original, expected, tmp_path, request):
    path, base = tmp_path / "x.route", weights()
    refused = 0
    for number in range(request.config.getoption("--fuzz")):
        rng, content = random.Random(number), bytearray(original)
        mutation = MUTATIONS[number % len(MUTATIONS)]
        mutation(content, rng)
        signed = rng.random() < 0.5
        if signed:
            sign(content)
        path.write_bytes(content)
        try:
            read = read_route(path, base)
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(path)), error
            continue
        except BaseException as error:
            raise AssertionError(f"mutation {number} ({mutation.__name__}, signed: {signed})") from error
        assert signed or content == original, f"mutation {number} ({mutation.__name__}) was accepted"
        assert read.masks.keys() == expected.masks.keys(), number
        assert all(torch.equal(mask, expected.masks[name]) for name, mask in read.masks.items()), number
    assert refused > 0.5 * request.config.getoption("--fuzz")
