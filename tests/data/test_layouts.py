"""Which pieces people's folders hold: names alone decide, so the files here are empty."""

import os
import unicodedata

import pytest

from umss_jax.config import VOICES
from umss_jax.data.layouts import find_layout
from umss_jax.errors import DatasetError


def fill(root, names):
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    return root


def pieces_of(root):
    """Names of the files of every voice, by piece."""
    layout = find_layout(root)
    return {
        piece.name: [[os.fsencode(f.relative_to(root)) for f in files] for files in piece.voices]
        for piece in layout.pieces
    }, layout


def quartet(pattern, words=VOICES):
    return [pattern.format(word) for word in words]


def nfd(text):
    return unicodedata.normalize("NFD", text)


# Pattern of the names, words for the voices, and the piece that they are.
ONE_PIECE = [
    ("{}.wav", "SATB", "set"),
    ("{}.wav", "satb", "set"),
    ("{}.WAV", ("SOPRANO", "ALTO", "TENOR", "BASS"), "set"),
    ("Title - {}.wav", VOICES, "Title"),
    ("Title – {}.flac", VOICES, "Title"),
    ("Title_{}_2.wav", ("Soprano", "Alto", "Tenor", "Bass"), "Title_2"),
    ("Title ({}).mp3", VOICES, "Title"),
    ("Title_{}.wav", "SATB", "Title"),
    ("{} - Title.wav", "SATB", "Title"),
    ("Song for a Friend_{}.wav", "SATB", "Song for a Friend"),
    ("{}Title.wav", ("Soprano", "Alto", "Tenor", "Bass"), "Title"),
    ("TitleLive{}.wav", ("Soprano", "Alto", "Tenor", "Bass"), "TitleLive"),
    ("01 Ave Maria {}.wav", VOICES, "01 Ave Maria"),
    ("{}.wav", ("01 Soprano", "02 Alto", "03 Tenor", "04 Bass"), "set"),
    ("{} Title.wav", ("1-S", "2-A", "3-T", "4-B"), "Title"),
    ("Title {}.wav", ("Soprano1", "Alto2", "Tenor3", "Bass4"), "Title"),
    ("{}1.wav", "SATB", "1"),
    ("{}.aiff", ("sop", "alt", "ten", "bas"), "set"),
    ("Motette {}.wav", ("Sopran", "Alt", "Tenor", "Bass"), "Motette"),
    ("Motette {}.wav", ("Sopran", "Alt", "Tenor", "Baß"), "Motette"),
    ("Misa {}.wav", ("sopranos", "contraltos", "tenores", "bajos"), "Misa"),
    ("Messe {}.wav", ("soprano", "alto", "ténor", "basse"), "Messe"),
    ("Messe {}.wav", ("dessus", "haute-contre", "taille", "basse"), "Messe"),
    ("Messa {}.wav", ("soprano", "contralto", "tenore", "basso"), "Messa"),
    ("Cançó {}.wav", ("Soprano", "Contralt", "Tenor", "Baix"), "Cançó"),
    ("Cantiga {}.wav", ("soprano", "contralto", "tenor", "baixo"), "Cantiga"),
    ("Koor {}.wav", ("sopraan", "alt", "tenor", "bas"), "Koor"),
    ("Хор {}.wav", ("сопрано", "альт", "тенор", "бас"), "Хор"),
    ("Motet {}.wav", ("cantus", "altus", "tenor", "bassus"), "Motet"),
    ("x_{}.wav", ("soprano", "contra_alto", "tenor", "bass"), "x"),
    ("Alto Adige - {}.wav", VOICES, "Alto Adige"),
    ("{} - Tenor's Song.wav", ("Soprano", "Alto", "Tenor", "Bass"), "Tenor's Song"),
    ("Title_{}_1ch.wav", "satb", "Title"),
    ("piece/{}.wav", VOICES, "piece"),
    ("a/b/{}.wav", VOICES, "a/b"),
    ("a/b/c/d/{}.wav", "SATB", "a/b/c/d"),
    ("{}/piece1.wav", VOICES, "piece1"),
    ("{}/piece1.wav", "SATB", "piece1"),
    ("Stimmen/{}/Ärger.wav", ("Sopran", "Alt", "Tenor", "Bass"), "Stimmen/Ärger"),
    ("piece1/{}/audio.wav", VOICES, "piece1/audio"),
    ("{0}/Title_{0}.wav", VOICES, "Title"),
    ("{}.wav", ("soprano/anna", "alto/berta", "tenor/carl", "bass/dora"), "set"),
    ("Tenor/{}.wav", VOICES, "Tenor"),
    ("{}/01.wav", ("1_soprano", "2_alto", "3_tenor", "4_bass"), "01"),
    ("deep/down/Song/audio_16kHz/Song_{}.wav", "satb", "deep/down/Song"),
    ("Song/audio_16kHz/{}.wav", VOICES, "Song/audio_16kHz"),
]


@pytest.mark.parametrize(("pattern", "words", "name"), ONE_PIECE)
def test_four_voices_are_one_piece(tmp_path, pattern, words, name):
    files = quartet(pattern, words)
    root = fill(tmp_path / "set", [*files, ".DS_Store"])
    pieces, layout = pieces_of(root)
    assert pieces == {name: [[file.encode()] for file in files]}
    assert layout.missing == ()


def test_letters_with_numbers_may_be_without_a_title(tmp_path):
    pieces, _ = pieces_of(fill(tmp_path / "set", quartet("{}_01.wav", "SATB")))
    assert list(pieces) == ["01"]


def test_names_composed_and_decomposed_are_the_same(tmp_path):
    files = ["Ärger - Sopran.wav", nfd("Ärger - Alt.wav"), nfd("ärger - Ténor.wav")]
    root = fill(tmp_path / "set", [*files, "ÄRGER - bass.wav"])
    pieces, _ = pieces_of(root)
    assert (
        [len(voice) for voice in pieces["ärger"]] == [1, 1, 1, 1]
        if "ärger" in pieces
        else (list(pieces) == ["Ärger"])
    )
    assert len(pieces) == 1


def test_names_that_are_not_utf_8(tmp_path):
    names = [
        b"Fr\xfchling - Sopran.wav",
        *(f"Fr\xfchling - {v}.wav".encode("latin-1") for v in "ATB"),
    ]
    pieces, _ = pieces_of(fill(tmp_path / "set", names))
    assert pieces == {"Frühling": [[name] for name in names]}


def test_names_of_255_bytes(tmp_path):
    names = quartet("x" * 240 + "-{}.wav", VOICES)
    assert max(map(len, names)) <= 255
    pieces, _ = pieces_of(fill(tmp_path / "set", names))
    assert pieces == {"x" * 240: [[name.encode()] for name in names]}


# Names, and the singers of each voice by piece.
SEVERAL = [
    # every number is complete: performances that must not be mixed
    (quartet("P_{}_1.wav") + quartet("P_{}_2.wav"), {"P_1": [1] * 4, "P_2": [1] * 4}),
    (quartet("1_{}.wav") + quartet("2_{}.wav"), {"1": [1] * 4, "2": [1] * 4}),
    (
        quartet("p/{}/take1.wav") + quartet("p/{}/take2.wav"),
        {"p/take1": [1] * 4, "p/take2": [1] * 4},
    ),
    # singers of one part
    (["S1.wav", "S2.wav", "A1.wav", "A2.wav", "T.wav", "B.wav"], {"set": [2, 2, 1, 1]}),
    ([*quartet("T_{}.wav"), "T_alto_2.wav"], {"T": [1, 2, 1, 1]}),
    # one incomplete piece does not make singers of another
    (quartet("1_{}.wav") + quartet("2_{}.wav", VOICES[:3]), {"1": [1] * 4}),
    (quartet("{}_1.wav") + quartet("{}_2.wav", VOICES[:3]), {"1": [1] * 4}),
    (quartet("a/{}.wav") + quartet("b - {}.flac"), {"a": [1] * 4, "b": [1] * 4}),
]


@pytest.mark.parametrize(("names", "expected"), SEVERAL)
def test_numbers_are_singers_or_performances(tmp_path, names, expected):
    pieces, _ = pieces_of(fill(tmp_path / "set", names))
    assert {name: [len(one) for one in voices] for name, voices in pieces.items()} == expected


AMBIGUOUS = [
    [f"{n:02} {v}.wav" for n, v in enumerate((*VOICES, *VOICES), 1)],
    [f"{v} {n}.wav" for n, v in enumerate((*VOICES, *VOICES), 1)],
    [f"{v}/{name}{v[0]}x.wav" for v in VOICES for name in ("anna", "eva")],
]


@pytest.mark.parametrize("names", AMBIGUOUS)
def test_what_may_be_several_pieces_is_refused(tmp_path, names):
    with pytest.raises(DatasetError, match="a folder of its own") as caught:
        find_layout(fill(tmp_path / "set", names))
    assert "\n" not in str(caught.value)


MIXTURES = [
    ["choir.wav", "more/choir.wav"],
    ["Take A.wav", "Take B.wav"],
    [f"Side {letter}.wav" for letter in "ABCDST"],
    ["Ten Green Bottles.wav", "Alt und Jung.wav"],
    ["01 Intro.wav", "02 Bass Blues.wav", "03 Schubert's Ave.wav"],
    ["Song for a Friend.wav", "Sonata in B.wav"],
    ["A/one.wav", "B/two.wav", "S/three.wav", "C/four.wav"],
]


@pytest.mark.parametrize("names", MIXTURES)
def test_titles_are_no_voices(tmp_path, names):
    layout = find_layout(fill(tmp_path / "set", names))
    assert layout.kind == "mixtures"
    assert sorted(piece.name + ".wav" for piece in layout.pieces) == sorted(names)


def test_a_lone_voice_among_mixtures_is_said(tmp_path):
    (note,) = find_layout(fill(tmp_path / "set", ["Title - alto.wav", "choir.wav"])).notes
    assert note == (
        "1 recording is named like a voice without the others and taken as a mixture: "
        "Title - alto.wav"
    )


FOREIGN = [
    ".ipynb_checkpoints/{}-checkpoint.wav",
    ".ipynb_checkpoints/{}.wav",
    "__MACOSX/piece/{}.wav",
    "__MACOSX/piece/._{}.wav",
    "piece/._{}.wav",
    "._{}.wav",
    ".hidden/{}.wav",
    ".{}.wav",
    "@eaDir/{}.wav/SYNOAUDIO.wav",
    "piece/@eaDir/{}.wav",
    "$RECYCLE.BIN/S-1-5/{}.wav",
    "#recycle/{}.wav",
    "System Volume Information/{}.wav",
    ".partial-abc/{}.wav",
    "{}.wav.part",
    ".{}.wav.12.ab.part",
    "{}.wav.crdownload",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    ".Trash-1000/files/{}.wav",
    ".git/{}.wav",
]


@pytest.mark.parametrize("pattern", FOREIGN)
@pytest.mark.parametrize(
    "own", ["piece/{}.wav", "piece/audio_16kHz/x_{}.wav", "Title - {}.wav"], ids="abc"
)
def test_what_systems_leave_is_no_piece(tmp_path, own, pattern):
    words = "satb" if "16kHz" in own else VOICES
    clean, _ = pieces_of(fill(tmp_path / "set", quartet(own, words)))
    fill(tmp_path / "set", quartet(pattern))
    again, layout = pieces_of(tmp_path / "set")
    assert again == clean
    assert not any("not used" in note for note in layout.notes)


@pytest.mark.parametrize("pattern", FOREIGN)
def test_what_systems_leave_is_no_mixture(tmp_path, pattern):
    root = fill(tmp_path / "set", ["choir.wav", *quartet(pattern)])
    assert [piece.name for piece in find_layout(root).pieces] == ["choir"]


def test_a_hidden_folder_may_be_named_itself(tmp_path):
    root = fill(tmp_path / ".cache" / "choir", quartet("p/{}.wav"))
    assert [piece.name for piece in find_layout(root).pieces] == ["p"]


def test_a_mixture_beside_the_stems_is_said(tmp_path):
    root = fill(tmp_path / "set", [*quartet("p/{}.wav"), "p/mix.wav", "p/piano.wav"])
    pieces, layout = pieces_of(root)
    assert list(pieces) == ["p"]
    assert layout.notes == ("2 recordings beside the stems not used: p/mix.wav, p/piano.wav",)


def test_other_formats_of_a_recording_count_once(tmp_path):
    root = fill(tmp_path / "set", [*quartet("p/{}.flac"), "p/alto.mp3", "p/bass.wav"])
    pieces, layout = pieces_of(root)
    assert pieces["p"][1:] == [[b"p/alto.flac"], [b"p/tenor.flac"], [b"p/bass.wav"]]
    assert len(layout.notes) == 1
    assert "alto.mp3, bass.flac" in layout.notes[0]


def test_loops_and_repeated_links(tmp_path):
    root = fill(tmp_path / "set", quartet("p/{}.wav"))
    (root / "p" / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "p")
    (root / "self.wav").symlink_to(root / "self.wav")
    (root / "gone.wav").symlink_to(root / "nothing")
    for voice in VOICES:
        (root / "q").mkdir(exist_ok=True)
        os.link(root / "p" / f"{voice}.wav", root / "q" / f"{voice}.wav")
    pieces, layout = pieces_of(root)
    assert list(pieces) == ["p"]
    assert layout.notes == (
        "2 links lead to no recording: gone.wav, self.wav",
        "1 piece linked to the files of another left out: q (p)",
    )


def test_folders_elsewhere_may_be_linked(tmp_path):
    fill(tmp_path / "elsewhere", quartet("{}.wav"))
    root = fill(tmp_path / "set", ["note.txt"])
    (root / "p").symlink_to(tmp_path / "elsewhere")
    assert [piece.name for piece in find_layout(root).pieces] == ["p"]


def test_folders_that_cannot_be_read_are_said(tmp_path, monkeypatch):
    root = fill(tmp_path / "set", [*quartet("p/{}.wav"), *quartet("secret/{}.wav")])
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    pieces, layout = pieces_of(root)
    assert list(pieces) == ["p"]
    assert layout.notes == ("1 folder cannot be read and is passed over: secret",)
    with pytest.raises(DatasetError, match="secret cannot be read"):
        find_layout(root / "secret")


def test_the_folder_of_the_stems_itself(tmp_path):
    fill(tmp_path / "Song", quartet("audio_16kHz/x_{}.wav", "satb"))
    layout = find_layout(tmp_path / "Song" / "audio_16kHz")
    assert (layout.kind, [piece.name for piece in layout.pieces]) == ("cantoria", ["Song"])


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path):
    root = fill(
        tmp_path / "set",
        [f"{n // 4000:02}/{n:05} - {v}.wav" for n in range(25_000) for v in VOICES],
    )
    assert len(find_layout(root).pieces) == 25_000
