"""What is wrong with settings is said so that the next try is right: all types, all files."""

import dataclasses
import os
import re
import tomllib

import pytest

from umss_jax.config_tree import leaves, plain, to_toml
from umss_jax.errors import UsageError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.settings import build_pretraining, build_run, read_tree

ACCEPTED = [
    ("data.train.folders=ds/ok", ("ds/ok",)),
    ("data.train.folders=[ds/ok]", ("ds/ok",)),
    ("data.train.folders=[ds/ok, other one]", ("ds/ok", "other one")),
    ('data.train.folders=["ds/ok"]', ("ds/ok",)),
    ("data.train.folders=['ds/ok', \"b\"]", ("ds/ok", "b")),
    ("data.train.folders=[]", ()),
    ("data.train.folders=/data/My Choir (2024)", ("/data/My Choir (2024)",)),
    ("data.train.folders=C:\\data\\choir", ("C:\\data\\choir",)),
    ("data.train.pieces=BC/1_BC001*", ("BC/1_BC001*",)),
    ("data.train.pieces=[*é, b]", ("*é", "b")),
    ("data.train.singers=2", (2,)),
    ("data.train.singers=[1,3]", (1, 3)),
    ("loss.fft_sizes=512", (512,)),
    ("batch=1e1", 10),
    ("epoch_examples=1e3", 1000),
    ("optimiser.learning_rate=1", 1.0),
    ("optimiser.learning_rate=1e-4", 1e-4),
    ("cosine=True", True),
    ("cosine=FALSE", False),
    ("cosine=true", True),
    ("name=2024", "2024"),
    ("name=my run", "my run"),
    ('name="quoted"', "quoted"),
    ("name= padded ", "padded"),
    ("name=2024-05-01", "2024-05-01"),
    ("data.train.folders=[2024-05-01, b]", ("2024-05-01", "b")),
    ("data.train.folders=[2024-05-01]", ("2024-05-01",)),
]


@pytest.mark.parametrize(("override", "value"), ACCEPTED)
def test_what_is_clear_is_taken(override, value):
    found = leaves(build_run({}, [override]))[override.split("=")[0]]
    assert (found, type(found)) == (value, type(value))


def every_setting():
    for build, config in ((build_run, TrainConfig()), (build_pretraining, PretrainConfig())):
        for key, value in leaves(config).items():
            yield pytest.param(build, key, value, id=f"{build.__name__}-{key}")


WRONG = {bool: "perhaps", int: "many", float: "much", str: "true"}


@pytest.mark.parametrize(("build", "key", "value"), list(every_setting()))
def test_every_setting_says_what_it_wants_by_an_example_that_fits(build, key, value):
    wrong = WRONG.get(type(value), "true")
    with pytest.raises(UsageError) as caught:
        build({}, [f"{key}={wrong}"])
    said = str(caught.value)
    assert said.startswith(f"{key} is ")
    assert not re.search(r"tuple|\.\.\.|bool|\bint\b|float(?!\d)|\bstr\b|None", said), said
    if "choose from" in said:
        example = f"{key}={said.split('choose from ')[1].split(', ')[0]}"
    else:
        example = re.search(r"such as '?(.*?)'?$", said)[1]
    # The example is of the right type; whether its value makes sense is another question.
    again = ""
    try:
        build({}, [example])
    except (UsageError, ValueError) as error:
        again = str(error)
    assert " is " not in again or "give " not in again, (said, again)


@pytest.mark.parametrize("key", ["data", "data.train", "optimiser", "model", "model.conv"])
def test_a_group_says_what_is_in_it(key):
    with pytest.raises(UsageError, match=rf"{key} is .*: set what is in it: {key}\.\w+, "):
        build_run({}, [f"{key}=3"])


def test_nothing_that_is_nested_for_ever():
    with pytest.raises(UsageError, match="batch is"):
        build_run({}, ["batch=" + "[" * 20_000])


FILES = [
    (b"batch = 4\nname = my run\n", "line 2, column 8: 'name = my run' is no valid TOML"),
    (b"[data.train]\nfolders = [ds/ok]\n", "line 2, column 12: 'folders = [ds/ok]'"),
    (b"batch 4", "line 1, column 7: 'batch 4' is no valid TOML"),
    (b"batch = ", "is no valid TOML"),
    (b"a = 1\na = 2\n", "is no valid TOML (Cannot overwrite a value)"),
    (b'name = "caf\xe9"\n', "is not text in UTF-8 (line 1)"),
    (b"\x00\x01\x02", "is no file of settings"),
    (b"\x89PNG\r\n\x1a\n\x00", "is no file of settings"),
    (b"x = 1\n" * 200_000, "is no file of settings"),
    (b"x = " + b"[" * 20_000, "TOML|nested too deeply"),
]


@pytest.mark.parametrize(("content", "message"), FILES, ids=range(len(FILES)))
def test_files_that_are_no_settings(tmp_path, content, message):
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_tree(file)
    said = str(caught.value)
    assert said.startswith(str(file))
    assert any(part in said for part in message.split("|")), said
    assert "Errno" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("is_reference", [False, True])
def test_files_that_cannot_be_read(tmp_path, monkeypatch, is_reference):
    def said(path):
        with pytest.raises(UsageError) as caught:
            read_tree(None if is_reference else path, path if is_reference else None)
        assert str(path) in str(caught.value)
        assert "Errno" not in str(caught.value)
        return str(caught.value)

    assert "does not exist: check the path" in said(tmp_path / "nofile.toml")
    assert "does not exist" in said(tmp_path / "no" / "folder.toml")
    assert "is a folder" in said(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in said(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop" in said(tmp_path / "loop")
    assert "cannot be read (File name too long)" in said(tmp_path / ("x" * 300))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret").write_text("batch = 3")
    monkeypatch.setattr("os.open", refuse)
    assert "cannot be read (Permission denied): check" in said(tmp_path / "secret")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_editors_write_is_read(tmp_path, encoding, newline):
    file = tmp_path / "run.toml"
    text = to_toml(plain(dataclasses.replace(TrainConfig(), name="Chöre")))
    file.write_bytes(text.replace("\n", newline).encode(encoding))
    assert read_tree(file) == tomllib.loads(text)
