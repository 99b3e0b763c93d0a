"""The page for people, in a real Chromium that runs without a screen."""

import base64
import io

import numpy as np
import pytest
from chromium import CHROMIUM
from matplotlib.image import imread

from pointadapt.inference.predict import predict
from pointadapt.io import write_points

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine")


def choose(browser, adapter):
    browser.js(f"$('adapter').value = {adapter!r}; $('adapter').dispatchEvent(new Event('change'))")


def colours(browser):
    """How many different colours the picture of the cloud has, its background included."""
    url = browser.js("$('view').toDataURL('image/png')")

    picture = imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return len(np.unique((picture[..., :3] * 8).round().reshape(-1, 3), axis=0))


def test_a_person_sees_the_class_and_the_cloud(server, served, browser, tmp_path):
    points = np.random.default_rng(1).uniform(-1, 1, (90, 3)).astype(np.float32)
    write_points(tmp_path / "chair.ply", points)
    (want,) = predict([tmp_path / "chair.ply"], served / "adapters" / "shapes")
    browser.call("Page.navigate", url=server.address)
    assert browser.until("typeof $ === 'function' && $('error').textContent") == "a token is needed"
    token = server.token
    browser.js(f"$('token').value = {token!r}; $('token').dispatchEvent(new Event('change'))")
    assert browser.until("$('adapter').options.length") == 3
    choose(browser, "shapes")
    browser.choose_file(tmp_path / "chair.ply")
    browser.until("$('view').dataset.drawn")
    assert browser.js("$('answer').textContent") == want.label
    assert int(browser.js("$('view').dataset.drawn")) > 50
    assert colours(browser) > 5
    choose(browser, "parts")
    assert browser.js("$('category-box').hidden") is False
    browser.js("$('category').value = 'chair'; send(last)")
    browser.until("$('answer').textContent.endsWith('labels')")
    assert browser.js("$('view').dataset.drawn") == "90"
    assert "chair/" in browser.js("$('more').textContent")
    assert browser.js("$('save').hidden") is False
    (tmp_path / "broken.ply").write_text("ply\n")
    browser.choose_file(tmp_path / "broken.ply")
    browser.until("!$('error').hidden")
    assert "broken.ply" in browser.js("$('error').textContent")
    assert not browser.said  # no error in the page, and nothing that its policy forbids
