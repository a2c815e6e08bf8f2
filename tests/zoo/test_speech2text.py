"""``espnet_s3router.Speech2Text``: ESPnet's habits, over packs of both kinds."""

import numpy as np
import pytest
import soundfile

from espnet_s3router import Speech2Text
from espnet_s3router.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")


def test_routes(packed_routes, audio, wave):
    speech2text = Speech2Text.from_pretrained(packed_routes.path, route="nl")
    assert speech2text.routes == ["de", "nl"] and speech2text.route == "nl"
    text, tokens, ids, transcript = speech2text(audio)[0]
    assert text == packed_routes.texts["nl"][0] == transcript.text
    assert [speech2text.router.bank.tokens("nl")[number] for number in ids] == tokens
    assert speech2text(wave.numpy())[0][:3] == (text, tokens, ids) == speech2text(wave)[0][:3]
    speech2text.set_target_lang("de")
    assert speech2text(audio)[0][0] == packed_routes.texts["de"][0]
    texts = [found[0][0] for found in speech2text.batch([audio, audio], ["nl", "de"])]
    assert texts == [packed_routes.texts[name][0] for name in ("nl", "de")]
    speech2text.set_target_lang("auto")
    assert speech2text(audio)[0][3].identified.name in ("nl", "de")


def test_sixteen_bit_samples(packed_baked, wave):
    speech2text = Speech2Text.from_pretrained(str(packed_baked.path))
    samples = np.round(wave.numpy() * 32768).clip(-32768, 32767).astype(np.int16)
    whole = speech2text.router.hidden("nl", wave)
    assert speech2text(samples)[0][0] == packed_baked.texts["nl"][0]
    assert whole.shape[1] > 0 and speech2text.routes == ["nl"]


def test_long_recordings_are_cut(packed_baked, wave, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(wave.numpy(), 4), 16000)
    speech2text = Speech2Text.from_pretrained(packed_baked.path, window_s=2.0)
    _, _, _, transcript = speech2text(tmp_path / "long.wav")[0]
    assert all(word.end <= 4 * len(wave) / 16000 + 0.1 for word in transcript.words)


def test_wrong_routes(packed_routes, packed_baked, wave):
    with pytest.raises(InputError, match="several routes: name one of de, nl"):
        Speech2Text.from_pretrained(packed_routes.path)
    with pytest.raises(InputError, match="there is no route 'fr', expected one of de, nl"):
        Speech2Text.from_pretrained(packed_routes.path, route="fr")
    with pytest.raises(InputError, match="there is no route 'fr', expected nl"):
        Speech2Text.from_pretrained(packed_baked.path, route="fr")
    speech2text = Speech2Text.from_pretrained(packed_routes.path, route="de")
    with pytest.raises(InputError, match="1 routes for 2 recordings"):
        speech2text.batch([wave, wave], ["de"])
    with pytest.raises(InputError, match="expected mono float samples"):
        speech2text(np.zeros((2, 1600), np.float32))
