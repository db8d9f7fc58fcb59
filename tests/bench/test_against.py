"""Two programs in turn: how their times are read, and what becomes of a command that fails."""

import json
import shlex
import signal
import sys
import threading
import time

import pytest

from umss_jax import interruption
from umss_jax.bench import run as bench_run
from umss_jax.bench.against import Side, pairs, pairs_markdown, pattern_of
from umss_jax.bench.ceilings import Ceilings
from umss_jax.bench.commands import run_command
from umss_jax.cli import run
from umss_jax.errors import UmssError

ABOUT = {"strategy": "umss", "batch": 4, "seconds": 4.0}


def python(code):
    """A line for the shell."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def saying(seconds):
    return python(f"""print('{{"seconds_per_example": {seconds}}}')""")


def in_turn(ours, theirs, count=1, **options):
    return list(pairs(ours, theirs, count, lambda: 100.0, ABOUT, **options))


def test_the_two_take_turns_and_the_machine_is_measured_around_each(tmp_path):
    log = tmp_path / "log"

    def side(name):
        return Side(python(f"open({str(log)!r}, 'a').write('{name} ')") + "; " + saying(1))

    def rate():
        with log.open("a") as file:
            file.write("rate ")
        return 7.0

    rows = list(pairs(side("ours"), side("theirs"), 2, rate, ABOUT))
    assert log.read_text().split() == ["rate", *["ours", "rate", "theirs", "rate"] * 2]
    assert [row["pair"] for row in rows] == [1, 2]
    assert rows[0]["product_gflops"] == [7.0] * 3


@pytest.mark.parametrize(
    ("theirs", "pattern"),
    [
        (saying(6.0), None),
        (saying(9.0) + "; echo between; " + saying(6), None),  # the last counts
        ("""echo '{"seconds_per_example": "6.0", "peak_memory_bytes": 4400000000}'""", None),
        ("echo step 1: 9.5 s; echo step 2: 6.0 s", r"step \d+: ([0-9.]+) s"),
        ("echo 6e0", "^(.+)$"),
    ],
)
def test_seconds_are_read_as_they_are_said(theirs, pattern):
    (row,) = in_turn(Side(saying(0.5)), Side(theirs, pattern_of(pattern)))
    assert (row["measured"], row["ours_s"], row["theirs_s"]) == ("example", 0.5, 6.0)
    assert row["ratio"] == 12.0


@pytest.mark.parametrize("ours", [saying(100), "true"])
def test_a_command_that_says_nothing_is_timed_from_start_to_end(ours):
    """Both are then, whatever the other says: seconds of one kind are not set against another's."""
    (row,) = in_turn(Side(ours), Side("sleep 0.4"))
    assert row["measured"] == "process"
    assert 0.4 <= row["theirs_s"] < 5
    assert row["ours_s"] < 5
    assert row["ratio"] == row["theirs_s"] / row["ours_s"]


@pytest.mark.parametrize(
    ("command", "pattern", "said"),
    [
        ("echo first; echo last >&2; exit 3", None, "failed with exit code 3: last"),
        ("exit 4", None, "failed with exit code 4: no message"),
        ("there-is-no-such-command-at-all", None, "is missing: "),
        ("/dev/null", None, "cannot be run: "),
        ("kill -9 $$", None, "was ended by SIGKILL: no message"),
        ("sh -c 'kill -15 $$'", None, "was ended by SIGTERM"),
        ("true", "(x)", "prints nothing ('(x)')"),
        ("echo y", "(x)", "prints nothing like it ('(x)')"),
        ("echo x", "(x)", "says that an example takes 'x' s"),
        ("""echo '{"seconds_per_example": 0}'""", None, "takes 0 s"),
        ("""echo '{"seconds_per_example": -1}'""", None, "takes -1 s"),
        ("""echo '{"seconds_per_example": NaN}'""", None, "takes nan s"),
        ("""echo '{"seconds_per_example": true}'""", None, "takes True s"),
        ("""echo '{"seconds_per_example": [1]}'""", None, "takes [1] s"),
    ],
)
def test_what_goes_wrong_is_said_on_one_line(command, pattern, said):
    with pytest.raises(UmssError) as caught:
        in_turn(Side(saying(1)), Side(command, pattern_of(pattern)))
    assert said in str(caught.value)
    assert str(caught.value).startswith("the command of --against ")
    assert "\n" not in str(caught.value)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_began(tmp_path):
    alive = tmp_path / "alive"
    child = python(f"import time; time.sleep(1); open({str(alive)!r}, 'w')")
    started = time.monotonic()
    with pytest.raises(UmssError, match=r"was ended after 0\.3 s"):
        in_turn(Side("true"), Side(f"{child} & wait"), timeout_s=0.3)
    assert time.monotonic() - started < 2
    time.sleep(1.2)
    assert not alive.exists()


def test_what_a_command_leaves_in_the_background_does_not_disturb_the_next(tmp_path):
    alive = tmp_path / "alive"
    child = python(f"import time; time.sleep(1); open({str(alive)!r}, 'w')")
    in_turn(Side(f"({child}) >/dev/null 2>&1 &"), Side("true"))
    time.sleep(1.5)
    assert not alive.exists()


def test_a_signal_ends_the_command_and_us(monkeypatch):
    monkeypatch.setattr(interruption, "_first", 0)
    timer = threading.Timer(0.3, monkeypatch.setattr, (interruption, "_first", signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(interruption.Interrupted):
        run_command("sleep 20", "it")
    assert time.monotonic() - started < 10


def test_words_that_name_no_program_are_said_to_be_missing():
    with pytest.raises(UmssError, match=r"it cannot be run \(No such file"):
        run_command(["/there/is/no/such/program"], "it")


def test_commands_are_told_what_is_compared():
    said = "printenv UMSS_BENCH_STRATEGY UMSS_BENCH_BATCH UMSS_BENCH_SECONDS | tr '\\n' ' '"
    check = f'test "$({said})" = "umss 4 4 "'
    (row,) = in_turn(Side(check), Side(check))
    assert row["measured"] == "process"


def stand_in(monkeypatch):
    monkeypatch.setattr(
        bench_run,
        "measure_machine",
        lambda kinds=(): bench_run.Machine("this", Ceilings(float32=90.0)),
    )


def test_pairs_by_the_command_line(monkeypatch, tmp_path, capsys):
    stand_in(monkeypatch)
    words = ["bench", "--strategy", "umss", "--pairs", "2", "--ours", saying(0.5)]
    assert run([*words, "--against", saying(6), "--json", "--out", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["ratio"] for row in rows] == [12.0, 12.0]
    assert json.loads((tmp_path / "this-pairs.json").read_text()) == rows
    line = (tmp_path / "this-pairs.md").read_text().splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["UMSS", "4 × 4", "example"]
    assert cells[3:6] == ["0.5 (0.5–0.5)", "6 (6–6)", "12.0 (12.0–12.0)"]
    assert cells[6:] == ["2", "90–90", "–", "–"]


def test_pairs_before_a_failure_stand(monkeypatch, tmp_path, capsys):
    stand_in(monkeypatch)
    once = tmp_path / "once"
    theirs = f"test ! -e {shlex.quote(str(once))} && touch {shlex.quote(str(once))} && sleep 0.1"
    words = ["bench", "--strategy", "umss", "--ours", "true", "--against", theirs]
    assert run([*words, "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("| UMSS |") == 1
    assert "the command of --against failed with exit code 1" in printed.err
    assert len(json.loads((tmp_path / "out" / "this-pairs.json").read_text())) == 1


def test_the_spread_of_ratios_is_in_the_table():
    rows = []
    for number, theirs in enumerate((5.0, 6.0, 7.0), 1):
        (row,) = in_turn(Side(saying(0.5)), Side(saying(theirs)))
        rows.append({**row, "pair": number})
    assert "| 12.0 (10.0–14.0) | 3 |" in pairs_markdown(rows, "m")
