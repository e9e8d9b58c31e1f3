"""What only a shell would make sense of is found, without repeating what may be secret."""

from __future__ import annotations

import pytest

from tests.jcard.loading import agent_of, warnings_of

CUSTOM = '[agent]\nname = "x"\nharness = "custom"\n'
HOME = 'is not expanded here; write "/home/agent" in its place'
ELSE = "variables are not expanded here; write the value itself, or have sh -c expand it"


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ('env.BIN = "$HOME/bin"', f"env.BIN: $HOME {HOME}"),
        ('env.BIN = "${HOME}/bin"', f"env.BIN: $HOME {HOME}"),
        ('env.PATH = "/bin:~/bin"', f"env.PATH: ~ {HOME}"),
        ('env.KEY = "${API_KEY}"', f"env.KEY: {ELSE}"),
        ('env.PATH = "/bin:$PATH"', f"env.PATH: {ELSE}"),
        ('command = ["x", "--dir=~/src"]', f"command[1]: ~ {HOME}"),
        ('command = ["~/bin/x"]', f"command[0]: ~ {HOME}"),
        ('command = ["x"]\nargs = ["a", "$HOME"]', f"args[1]: $HOME {HOME}"),
        ('command = ["x"]\nargs = ["pre-${X}"]', f"args[0]: {ELSE}"),
        ('workdir = "$HOME/src"', 'workdir: variables are not expanded here; write "~/…"'),
        ('prompt_file = "${HOME}/p"', 'prompt_file: variables are not expanded here; write "~/…"'),
        ('workdir = "/srv/$USER/x"', "workdir: variables are not expanded here; write the path itself"),
        (
            'command = ["npm run dev"]',
            (
                "command: the first element, a command line of 3 words, is looked for as one program; "
                'write each word by itself: ["npm", "…"]'
            ),
        ),
        (
            'command = ["./watch.sh --every 5m"]',
            (
                "command: the first element, a command line of 3 words, is looked for as one program; "
                'write each word by itself: ["./watch.sh", "…"]'
            ),
        ),
        (
            'command = ["python -m", "http.server"]',
            (
                "command: the first element, a command line of 2 words, is looked for as one program; "
                'write each word by itself: ["python", "…"]'
            ),
        ),
    ],
)
def test_what_is_not_expanded_is_answered_with_what_to_write(fields: str, warning: str) -> None:
    [found] = warnings_of(f"{CUSTOM}{fields}\n")
    assert found.split(": ", 1)[1] == f'agent "x": {warning}'


@pytest.mark.parametrize(
    "fields",
    [
        'env.PRICE = "5$"',
        'env.PASSWORD = "pa$$w0rd$x"',
        'env.BACKUP = "a~"',
        'env.REGEX = "^a$"',
        'command = ["sh", "-c", "echo $HOME ${X} ~/x"]',
        'command = ["/bin/bash", "-lc", "~/bin/x"]',
        'command = ["/opt/My App/run"]',
        'command = ["x", "two words"]',
        'command = ["x", "{prompt}"]',
        'workdir = "~/src"',
        'prompt = "What is $HOME, and ${X}?"',
    ],
)
def test_what_a_program_may_want_as_it_is_passes(fields: str) -> None:
    agent_of(fields, "custom")


def test_no_warning_repeats_a_value() -> None:
    secret = 'env.A = "s3cret:${TOKEN}"\ncommand = ["curl -H s3cret"]\nargs = ["s3cret=~"]\n'
    lines = warnings_of(CUSTOM + secret)
    assert len(lines) == 3
    for line in lines:
        assert "s3cret" not in line
        assert "TOKEN" not in line
