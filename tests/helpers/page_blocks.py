"""What the pages show between fences and marks, so that tests can try it."""

import re
import shlex

from places import ROOT

PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "umss_jax" / "starter" / "MODEL_CARD.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
"""Those whose blocks are tried; notebooks are run as they are."""

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(text, *languages):
    """Contents of the fenced blocks in one of some languages."""
    return [body for _, language, body in FENCE.findall(text) if language in languages]


def inline(text):
    """What stands between single marks, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def shell_commands(block):
    """The simple commands of a block for the shell, in words, without what sets variables."""
    found = []
    for line in _whole_lines(block.replace("\\\n", " ")):
        command = []
        for word in [*_words(line), ";"]:
            if set(word) <= set("();<>|&"):
                found.append(command)
                command = []
            elif command or not re.match(r"\w+=|export$", word):
                command.append(word)
    return [words for words in found if words]


def _words(line):
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    words.commenters = "#"
    return list(words)


def _whole_lines(block):
    """Lines, those together that quotation marks hold together."""
    pending = ""
    for line in block.splitlines():
        pending += line
        try:
            _words(pending)
        except ValueError:  # no closing quotation
            pending += "\n"
            continue
        yield pending
        pending = ""
    assert not pending, pending


def umss_commands(text):
    """The words after `umss-jax` of every command in a page's blocks for the shell."""
    commands = [one for block in blocks(text, "sh", "bash") for one in shell_commands(block)]
    return [
        words[words.index("umss-jax") + 1 :]
        for words in commands
        if words[0] in ("umss-jax", "srun", "exec") and "umss-jax" in words
    ]
