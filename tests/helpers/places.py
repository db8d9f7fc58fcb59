"""The one place that knows where the repository, the tests' helpers and the reference data are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests" / "helpers"
FIXTURES = ROOT / "tests" / "fixtures"
SHARED = Path(os.environ.get("UMSS_SHARED", ROOT.parent / "shared"))
