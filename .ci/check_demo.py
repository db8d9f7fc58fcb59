"""Checks what `umss-jax demo` wrote and printed: `check_demo.py FOLDER PRINTED`."""

import sys
from pathlib import Path

import numpy as np
import soundfile

import umss_jax

VOICES = ("soprano", "alto", "tenor", "bass")


def main(folder: Path, printed: str) -> None:
    """Exits with a message where something is not as it should be."""
    assert "site-packages" in umss_jax.__file__, f"not the installed package: {umss_jax.__file__}"
    card = Path(umss_jax.__file__).parent / "starter" / "MODEL_CARD.md"
    assert card.is_file(), "the weights have no model card"
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line.strip()}
    for voice in (*VOICES, "all"):
        stem_db, mixture_db, accuracy = (float(rows[voice][column]) for column in (1, 3, 5))
        assert -80 < mixture_db < 160, rows[voice]
        assert -80 < stem_db < 160, rows[voice]
        assert 0 <= accuracy <= 1, rows[voice]
    assert float(rows["all"][1]) > float(rows["all"][3]), "no better than the mixture"

    def pcm(name: str) -> np.ndarray:
        audio, rate = soundfile.read(folder / f"{name}.wav", dtype="int32")
        assert rate == 16_000, name
        return audio.astype(np.int64)

    parts = np.stack([pcm(name) for name in (*VOICES, "residual")])
    assert parts.shape[1] >= 20 * 16_000, parts.shape
    assert np.array_equal(parts.sum(axis=0), pcm("mixture")), "the stems do not sum to the mixture"
    assert all(np.any(part) for part in parts[:4]), "a silent stem"
    for voice in VOICES:
        assert (folder / "targets" / f"{voice}.wav").is_file(), voice
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "Soprano, target" in report, "the report shows no true voices"
    print("the demo is whole")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8"))
