"""What files say about themselves, read by another program's reader."""

import numpy as np
import pytest
import soundfile
from media_files import make

from umss_jax.audio.recording import scan
from umss_jax.audio.tags import LONGEST, read_tags, tag_text
from umss_jax.audio.writing import SoundWriter

KINDS = [
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("flac", "FLAC", "PCM_24"),
    ("ogg", "OGG", "VORBIS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
TEXTS = {
    "title": "Niño Dios – 合唱 - soprano",
    "album": "Niño Dios",
    "artist": "Größe & Co.",
    "tracknumber": "3",
    "comment": "others at -12 dB",
}


def write(path, container, subtype, tags):
    tone = 0.3 * np.sin(np.arange(60_000) * 0.05)
    with SoundWriter(path, 44_100, 2, subtype, container, tags) as file:
        file.write(np.stack([tone, tone], axis=1))
    return tone


def texts_by_mutagen(path):
    """Title, album, artist, number and comment, as Mutagen finds them."""
    found = pytest.importorskip("mutagen").File(path).tags
    if path.suffix == ".mp3":
        comments = found.getall("COMM")
        names = {"title": "TIT2", "album": "TALB", "artist": "TPE1", "tracknumber": "TRCK"}
        texts = {name: str(found[key]) for name, key in names.items()}
        return texts | {"comment": str(comments[0])}
    return {name: found[name][0] for name in TEXTS}


@pytest.mark.parametrize(("suffix", "container", "subtype"), KINDS)
def test_tags_and_sound_come_back(tmp_path, suffix, container, subtype):
    path = tmp_path / f"a.{suffix}"
    tone = write(path, container, subtype, TEXTS)
    back, rate = soundfile.read(path)
    assert (back.shape, rate) == ((60_000, 2), 44_100)
    assert np.sqrt(np.mean((back[:, 0] - tone) ** 2)) < 0.01
    assert scan(path).samples == 60_000
    if suffix != "wav":  # Mutagen reads other tags in WAV than the INFO that libsndfile writes
        assert texts_by_mutagen(path) == TEXTS
    assert read_tags(path) == {name: TEXTS[name] for name in ("title", "album", "artist")}


@pytest.mark.parametrize("name", ["m4a", "alac", "wma", "wavpack"])
def test_tags_that_mutagen_wrote_into_what_ffmpeg_reads(tmp_path, name):
    mutagen = pytest.importorskip("mutagen")
    path = make(tmp_path, name)
    assert read_tags(path) == {}
    file = mutagen.File(path, easy=True)
    keys = {"title": "title", "album": "album", "artist": "artist"}
    if path.suffix == ".wma":
        keys = {"title": "Title", "album": "WM/AlbumTitle", "artist": "Author"}
    for key, its_key in keys.items():
        file[its_key] = [TEXTS[key]]
    file.save()
    assert read_tags(path) == {key: TEXTS[key] for key in keys}
    renamed = path.rename(tmp_path / "a.mp3")
    assert read_tags(renamed)["title"] == TEXTS["title"]


@pytest.mark.parametrize(("suffix", "container", "subtype"), KINDS)
def test_without_tags(tmp_path, suffix, container, subtype):
    path = tmp_path / f"a.{suffix}"
    write(path, container, subtype, {})
    assert read_tags(path) == {}
    assert soundfile.info(path).frames == 60_000


def test_the_info_chunk_of_a_wav(tmp_path):
    path = tmp_path / "a.wav"
    write(path, "WAV", "PCM_24", TEXTS)
    content = path.read_bytes()
    for key, name in ((b"INAM", "title"), (b"IPRD", "album"), (b"IART", "artist")):
        at = content.index(key)
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        assert content[at + 8 : at + 8 + length].rstrip(b"\0").decode() == TEXTS[name]


def test_texts_are_one_line_and_not_endless():
    assert tag_text(" a\nb\x1b[31m\udcff ") == "a b\N{REPLACEMENT CHARACTER}[31mÿ"
    assert len(tag_text("x" * 10_000)) == LONGEST


@pytest.mark.parametrize("name", ["missing.wav", "text.ogg", "x.raw"])
def test_what_is_no_sound_says_nothing(tmp_path, name):
    if name != "missing.wav":
        (tmp_path / name).write_text("words")
    assert read_tags(tmp_path / name) == {}
