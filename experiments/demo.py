"""The main job end to end: four singers are mixed, and the mixture is separated again.

Source:   Nino Dios, quartet 4 of the Choral Singing Dataset, its first 24 seconds.
Command:  make demo
Duration: README.md beside this file.
Score:    README.md beside this file.

It adapts to the mixture with no stems, as for any recording; the stems only score the result.
The F0 networks and the singers come from a folder of reference data (UMSS_SHARED, by default
../shared): without it this says what to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from experiments.quartet4 import score_stems, write_mixture

SECONDS = 24
STEPS = 40
OUT = Path("demo")


def main() -> int:
    """Mix, separate by the command, score, say where the stems are."""
    shared = Path(os.environ.get("UMSS_SHARED", "../shared")).resolve()
    data = shared / "datasets" / "ChoralSingingDataset"
    if not data.is_dir():
        print(
            f"demo: no reference data in {shared}: set UMSS_SHARED to the folder that holds "
            "datasets/ and weights/, or separate a recording of your own with "
            "`.venv/bin/umss-jax separate FILE -o OUT --assigner heuristic --adapt 200`",
            file=sys.stderr,
        )
        return 1
    mixture = write_mixture(data, OUT, SECONDS)
    command = ["umss-jax", "separate", str(mixture), "-o", str(OUT), "-n", "published"]
    command += ["--assigner", "heuristic", "--adapt", str(STEPS), "--overwrite"]
    print("$", *command, flush=True)
    executable = str(Path(sys.executable).parent / command[0])
    environment = {**os.environ, "UMSS_SHARED": str(shared)}
    done = subprocess.run([executable, *command[1:]], env=environment, check=False)
    if done.returncode:
        return done.returncode
    stems = OUT / "published" / mixture.stem
    result = score_stems(data, stems)
    summary = result.summary["si_sdr_db"]
    print(f"SI-SDR {summary.mean:.2f} dB over {int(result.kept.sum())} frames of one second")
    print(f"stems: {stems.resolve()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
