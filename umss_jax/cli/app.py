"""``umss-jax app``: a page on this computer to drop recordings on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from umss_jax.app.config import AppConfig
from umss_jax.cli.common import (
    AssignerOption,
    ChainOption,
    DeviceOption,
    NameOption,
    QuietOption,
    VoicesOption,
    exit_at_once,
    say,
)
from umss_jax.config import Assigner, Chain
from umss_jax.device import Device
from umss_jax.voice_sets import as_voices
from umss_jax.weights.config import DEFAULT_MODEL

_DEFAULTS = AppConfig()


def app(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of recordings and results; default: yours."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Listen there; beyond this computer (0.0.0.0) a token is needed.",
        ),
    ] = _DEFAULTS.host,
    port: Annotated[int, typer.Option("--port", help="0: any that is free.")] = _DEFAULTS.port,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", help="Refuse recordings larger than this.")
    ] = _DEFAULTS.upload_megabytes,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    name: NameOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    assigner: AssignerOption = Assigner.AUTO,
    chain: ChainOption = Chain.IMPROVED,
    voices: VoicesOption = None,
    quiet: QuietOption = False,
) -> None:
    """Open a page on this computer: drop a recording, listen to its voices, take the files.

    Prints the page's address, and runs until Ctrl-C. Results are kept and listed the next time.
    Nothing is sent to any other computer. Needs the extra `app`.
    """
    config = replace(_DEFAULTS, host=host, port=port, upload_megabytes=max_upload_mb)
    with exit_at_once():
        from umss_jax.app.need import need_server

        need_server()
        from umss_jax.app.run import run_app
        from umss_jax.app.shelf import usual_folder
        from umss_jax.app.worker import ModelChoice
        from umss_jax.cli.weights import bring_published

    choice = ModelChoice(name, assigner, chain, device, as_voices(voices))
    bring_published(name)
    folder = out or usual_folder()

    def tell(address: str) -> None:
        if not quiet:
            say(f"results are kept in {folder}; Ctrl-C ends")
        typer.echo(address)

    run_app(folder, config, choice, tell, browser)
