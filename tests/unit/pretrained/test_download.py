"""Downloading from a real server on loopback that breaks, stalls, lies and changes its mind."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from pointadapt.core.errors import FetchError, PointAdaptError
from pointadapt.pretrained.download import Patience, download

QUICK = Patience(timeout=0.3, attempts=3, backoff=0.01)
CALM = Patience(timeout=10, attempts=3, backoff=0.01)  # a busy machine is not a stall
HALF = 150_000


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def get(site, tmp_path):
    """Downloads to ``tmp_path/to/file``, which then is the file, and nothing else is left."""

    def run(where="/weights.pth", patience=CALM, **options):
        path = tmp_path / "to" / "file"
        got = download(site.url + where, path, patience=patience, **options)
        assert path.read_bytes() == site.content
        assert got == sha(site.content)
        assert os.listdir(path.parent) == ["file"]
        return [asked for _, _, asked in site.log]

    return run


def left(tmp_path):
    return sorted(os.listdir(tmp_path / "to")) if (tmp_path / "to").exists() else []


def test_a_file_comes_whole_and_its_checksum_is_told(site, get):
    seen = []
    assert get(sha256=sha(site.content), show=lambda *what: seen.append(what)) == [None]
    assert seen[0] == (0, len(site.content), "")
    assert seen[-1] == (len(site.content), len(site.content), "")


def test_a_broken_connection_is_resumed_where_it_broke(site, get):
    site.script = [("break", HALF), ("break", HALF + 70_000)]
    asked = get()
    assert asked == [None, f"bytes={HALF}-", f"bytes={HALF + 70_000}-"]


def test_progress_resets_the_count_of_attempts(site, get):
    site.script = [("break", at) for at in range(40_000, 280_000, 40_000)]
    assert len(get(patience=Patience(timeout=1, attempts=2, backoff=0.01))) == 7


def test_a_date_serves_where_there_is_no_strong_etag(site, get):
    site.headers = {"ETag": 'W/"weak"', "Last-Modified": site.date}
    site.script = [("break", HALF)]
    assert get() == [None, f"bytes={HALF}-"]


def test_nothing_is_added_to_a_file_that_nothing_identifies(site, get):
    site.headers = {"ETag": 'W/"weak"'}
    site.script = [("break", HALF)]
    assert get() == [None, None]


def test_a_server_without_ranges_is_read_from_the_start(site, get):
    site.script = [("whole", HALF), "whole"]
    assert get() == [None, f"bytes={HALF}-"]


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(site, tmp_path, get):
    site.script = [("whole", HALF)] * 9
    with pytest.raises(FetchError, match=r"broke after 150\.0 kB of 300\.0 kB"):
        get()
    assert len(site.log) == 3
    assert left(tmp_path) == ["file.part", "file.part.json"]


def test_a_changed_file_is_not_spliced(site, get):
    site.script, old = [("break", HALF)], site.content

    def change(done, total, note):
        if "broke" in note:
            site.content = bytes(reversed(old))

    assert get(show=change) == [None, f"bytes={HALF}-"]  # If-Range: the answer was the whole file
    assert site.content != old


@pytest.mark.parametrize("size", [300_032, 250_000])
def test_a_rest_of_another_file_is_refused_whatever_if_range_said(site, get, size):
    site.script = [("break", HALF), "splice"]

    def change(done, total, note):
        if "broke" in note:
            site.content = os.urandom(size)

    assert get(show=change) == [None, f"bytes={HALF}-", None]


def test_a_file_that_became_shorter_than_what_had_come(site, get):
    site.headers = {"Last-Modified": site.date}  # the server does not see the change either
    site.script = [("break", HALF)]

    def change(done, total, note):
        if "broke" in note:
            site.content = b"short"

    assert get(show=change) == [None, f"bytes={HALF}-", None]


def test_a_stall_is_noticed_and_resumed(site, get):
    site.script = [("stall", HALF)]
    notes = []
    got = get(patience=QUICK, show=lambda done, total, note: notes.append(note))
    assert got == [None, f"bytes={HALF}-"]
    assert "no byte came for 0.3 s; trying again" in notes


def test_a_server_that_never_answers(site, get, tmp_path):
    site.script = ["gate"] * 9
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"no answer from 127\.0\.0\.1 in 0\.3 s"):
        get(patience=QUICK)
    assert len(site.log) == 3
    assert time.monotonic() - began < 5
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_waited_out(site, get, status):
    site.script = [("status", status), ("status", status)]
    assert len(get()) == 3


def test_the_server_may_ask_for_a_longer_wait(site, get):
    site.script = [("later", 503, 0.4)]
    began = time.monotonic()
    get()
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_lasting_trouble_is_told_at_once(site, get, tmp_path, status):
    site.script = [("status", status)]
    with pytest.raises(FetchError, match=f"the server answers {status}"):
        get()
    assert len(site.log) == 1
    assert left(tmp_path) == []


def test_trouble_that_does_not_pass_is_given_up(site, get, tmp_path):
    site.script = [("status", 500)] * 9
    with pytest.raises(FetchError, match="the server answers 500"):
        get()
    assert len(site.log) == 3
    assert left(tmp_path) == []


def test_a_redirect_is_followed_also_by_a_resumed_download(site, get):
    site.script = [("to", "/a"), ("break", HALF), ("to", "/b"), "good"]
    assert get()[-1] == f"bytes={HALF}-"
    assert [path for _, path, _ in site.log] == ["/weights.pth", "/a", "/weights.pth", "/b"]


def test_a_token_is_shown_to_the_addresses_own_server_alone(site, get):
    other = site.url.replace("127.0.0.1", "localhost")
    site.script = [("to", "/beside"), ("to", f"{other}/elsewhere"), ("to", site.url), "good"]
    get(token="secret")
    assert site.tokens == ["Bearer secret", "Bearer secret", None, None]


def test_the_proxy_of_the_environment_is_asked(site, tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", site.url)
    download("http://far.invalid/x", tmp_path / "to/file", patience=QUICK)
    assert [path for _, path, _ in site.log] == ["http://far.invalid/x"]


def test_a_redirect_in_a_circle(site, get):
    site.script = [("to", "/weights.pth")] * 30
    with pytest.raises(FetchError, match="more than 10 redirects"):
        get()
    assert len(site.log) == 11


@pytest.mark.parametrize("step", ["page", "garbage"])
def test_what_is_no_file_is_not_kept(site, get, tmp_path, step):
    site.script = [step] * 3
    with pytest.raises(FetchError, match=r"web page|no answer"):
        get()
    assert left(tmp_path) == []


def test_wrong_bytes_are_thrown_away(site, get, tmp_path):
    want, site.content = sha(site.content), b"x" * len(site.content)
    with pytest.raises(FetchError, match=f"sha256 {sha(site.content)}, not {want}"):
        get(sha256=want)
    assert len(site.log) == 1
    assert left(tmp_path) == []


def test_a_damaged_beginning_costs_a_second_download_not_a_failure(site, get, tmp_path):
    site.script = [("break", HALF), ("status", 404)]
    with pytest.raises(FetchError):
        get()
    part = tmp_path / "to/file.part"
    part.write_bytes(b"damaged" + part.read_bytes()[7:])
    assert get(sha256=sha(site.content))[2:] == [f"bytes={HALF}-", None]


def test_a_file_without_length(site, get):
    site.script = ["unlabelled"]
    assert get() == [None]


def test_a_beginning_from_another_address_is_not_used(site, get):
    site.script = [("break", HALF), ("status", 404)]
    with pytest.raises(FetchError):
        get()
    site.content = os.urandom(len(site.content))
    assert get("/other.pth")[2:] == [None]


def test_a_note_that_cannot_be_read_means_starting_again(site, get, tmp_path):
    site.script = [("break", HALF), ("status", 404)]
    with pytest.raises(FetchError):
        get()
    (tmp_path / "to/file.part.json").write_text("{half")
    assert get()[2:] == [None]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/x", "no answer from 127.0.0.1 .Connection refused"),
        ("http://no-such-host.invalid/x", "no answer from no-such-host.invalid"),
        ("http://127.0.0.1:port/x", "no address"),
        ("file:///etc/passwd", "no http or https address"),
    ],
)
def test_no_network_is_told_soon(url, says, tmp_path):
    began = time.monotonic()
    with pytest.raises(FetchError, match=says) as caught:
        download(url, tmp_path / "to/file", patience=QUICK)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5
    assert left(tmp_path) == []


def test_a_killed_process_leaves_a_beginning_that_the_next_one_uses(site, get, tmp_path):
    site.script = [("stall", HALF)]
    code = (
        "from pathlib import Path; from pointadapt.pretrained.download import download\n"
        f"download('{site.url}/weights.pth', Path(r'{tmp_path / 'to' / 'file'}'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "to/file.part"
    try:
        assert site.arrived.wait(120)
        for _ in range(3000):
            if part.exists() and part.stat().st_size == HALF:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert left(tmp_path) == ["file.part", "file.part.json"]
    assert get() == [None, f"bytes={HALF}-"]


def test_killed_between_the_last_byte_and_the_rename(site, get, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pointadapt.pretrained.download.sha256_of", killed)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert left(tmp_path) == ["file.part", "file.part.json"]
    assert get() == [None]  # the one request of the first time


def test_a_disk_too_small_is_told_before_anything_comes(site, mount):
    disk = mount("size=200k")
    with pytest.raises(FetchError, match=r"kB free, and 300\.0 kB are still to come"):
        download(f"{site.url}/x", disk / "file", patience=QUICK)
    assert not (disk / "file").exists()


def test_a_disk_that_fills_up(site, mount):
    disk = mount("size=200k")
    site.script = ["unlabelled"]
    with pytest.raises(PointAdaptError, match="No space left on device"):
        download(f"{site.url}/x", disk / "file", patience=QUICK)
    assert not (disk / "file").exists()
    assert len(site.log) == 1
