"""What a page of `umss-jax report` sounds like."""

import base64
import io
import re

import numpy as np
import soundfile


def sounds(page: str) -> list[tuple[str, np.ndarray]]:
    """Names of the rows and their sounds ``[samples, channels]``, in order."""
    names = re.findall(r'class="strip" role="group" aria-label="([^"]*)"', page)
    data = re.findall(r'<script type="text/plain" data-sound="[^"]*">([^<]*)</script>', page)
    read = (soundfile.read(io.BytesIO(base64.b64decode(one)), always_2d=True)[0] for one in data)
    return list(zip(names, read, strict=True))
