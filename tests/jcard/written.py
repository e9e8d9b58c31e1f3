"""Random jcards as people write them: any layout that TOML allows, with comments and blank lines everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

Fields: TypeAlias = "dict[str, object]"

TEXTS = st.text(st.sampled_from("ab \t\"'\\#[]{}=,é\n\x00\x7f\u2028$`"), max_size=8)
LINE_TEXTS = st.text(st.sampled_from("ab \"'\\#[]{}=,é"), max_size=8)
BLANKS = st.sampled_from(["", "", "", "\n", "\n\n", "  \n", "# note\n", "# note\n\n", "\n# note\n", '#name = "z"\n'])
TRAILERS = st.sampled_from(["", "", "", " ", "  # why [x]", "\t#= {}"])
INDENTS = st.sampled_from(["", "", "", "  ", "\t"])


@dataclass(frozen=True)
class Section:
    """Some whole lines, and whose they are."""

    text: str
    agent: str | None
    pieces: tuple[tuple[str | None, str], ...] = ()
    """Where agents share lines: what is whose."""

    def of_others(self, agent: str) -> list[str]:
        """What of it is not of an agent."""
        if self.pieces:
            return [text for owner, text in self.pieces if owner != agent]
        return [] if self.agent == agent else [line for line in self.text.split("\n") if line.strip()]


@dataclass(frozen=True)
class Written:
    """A jcard in its sections."""

    head: str
    """Above the first table: pairs and comments of others."""
    sections: tuple[Section, ...]
    last_break: bool
    crlf: bool

    @property
    def text(self) -> str:
        text = self.head + "".join(section.text for section in self.sections)
        if not self.last_break:
            text = text.rstrip("\n")
        return text.replace("\n", "\r\n") if self.crlf else text

    def others(self, agent: str) -> list[str]:
        """What is not of an agent and stands in its text in this order; blank lines aside."""
        return [
            *(line for line in self.head.split("\n") if line.strip()),
            *(text for section in self.sections for text in section.of_others(agent)),
        ]


def _quoted(text: str) -> str:
    """Write a basic string, the test's own way."""
    return '"' + "".join(c if c.isalnum() or c in " =,[]{}#'$`" else f"\\u{ord(c):04x}" for c in text) + '"'


@st.composite
def strings(draw: st.DrawFn) -> str:
    text = draw(LINE_TEXTS)
    forms = [_quoted(text)]
    if "'" not in text:
        forms += [f"'{text}'", f"'''{text}\n# [no] comment\n'''"]
    forms.append(f'"""\n{_quoted(text)[1:-1]}\n\n"""')
    return draw(st.sampled_from(forms))


@st.composite
def arrays(draw: st.DrawFn) -> str:
    items = draw(st.lists(strings(), min_size=1, max_size=3))
    if draw(st.booleans()):
        return f"[{', '.join(items)}]"
    return "[\n" + "".join(f"  {item},{draw(TRAILERS)}\n" for item in items) + "]"


@st.composite
def pairs(draw: st.DrawFn) -> list[str]:
    """The lines of an agent's own fields but name and harness; each may be of several lines in truth."""
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "prompt": strings(),
                "args": arrays(),
                "restart": st.sampled_from(['"always"', "'no'"]),
                "enabled": st.sampled_from(["true", "false"]),
                "replicas": st.sampled_from(["1", "2", "0x3", "1_0"]),
                "timeout": st.just('"1h"'),
                '"workdir"': st.just("'/w'"),
            },
        )
    )
    spacing = draw(st.sampled_from([" = ", "=", "\t= "]))
    return [f"{key}{spacing}{value}" for key, value in fields.items()]


ENVS = st.dictionaries(st.sampled_from(["A", "B", "C_1"]), strings().filter(lambda text: "\n" not in text), max_size=2)


@st.composite
def blocks(draw: st.DrawFn, header: str, name: str | None) -> list[Section]:
    """One agent under a header of its own, its env in any of the ways, perhaps another table in between."""
    owner = name or "codex"
    lines = ['harness = "codex"', *draw(pairs())]
    if name is not None:
        lines.append(f'name = "{name}"')
    lines = draw(st.permutations(lines))
    env = draw(ENVS)
    form = draw(st.sampled_from(["inline", "dotted", "table"]))
    if form == "inline" and env:
        lines.append("env = {" + ", ".join(f"{key} = {value}" for key, value in env.items()) + "}")
    elif form == "dotted":
        lines += [f"env . {key} = {value}" for key, value in env.items()]
    indent = draw(INDENTS)
    brackets = "[{}]" if header == "agent" else "[[{}]]"
    text = draw(st.sampled_from(["", "# above\n", "# one\n# two\n"]))
    text += f"{indent}{brackets.format(draw(st.sampled_from([header, f' {header} '])))}{draw(TRAILERS)}\n"
    for line in lines:
        text += draw(BLANKS).lstrip("\n") + indent + line + draw(TRAILERS) + "\n"
    sections = [Section(text, owner)]
    if form == "table" and env:
        if draw(st.booleans()):
            sections.append(draw(others()))
        body = "".join(f"{key} = {value}{draw(TRAILERS)}\n" for key, value in env.items())
        sections += [Section("\n", None), Section(f"[{header}.env]\n{body}", owner)]
    return sections


_others = iter(range(10**9))


@st.composite
def others(draw: st.DrawFn) -> Section:
    """What belongs to other programs."""
    number = next(_others)
    body = draw(st.sampled_from(["", "x = nan\n", "d = 1979-05-27 07:32:00 # [agents]\n", 'name = "a"\n[t{0}.sub]\n']))
    return Section(f"\n# of others\n[t{number}]\n{body.format(number)}", None)


@st.composite
def inline(draw: st.DrawFn, names: list[str]) -> list[Section]:
    """Agents in an array of inline tables, which has to stand above every header: one section, of nobody."""
    agents = []
    for name in names:
        fields = [f'name = "{name}"', 'harness = "codex"']
        env = draw(ENVS)
        fields += [f"env.{key} = {value}" for key, value in env.items()]
        agents.append("{ " + ", ".join(draw(st.permutations(fields))) + draw(st.sampled_from([" }", "}"])))
    elements = list(zip(names, agents, strict=True))
    if draw(st.booleans()):
        return [Section(f"agents = [{', '.join(agents)}]\n", None, (*elements, (None, "]")))]
    text, pieces = "agents = [", list[tuple[str | None, str]]()
    for name, agent in elements:
        above = draw(st.sampled_from(["", "\n  # above", "\n  # apart\n", "\n"]))
        comma = "," if name != names[-1] else draw(st.sampled_from([",", ""]))
        trailer = draw(TRAILERS)
        text += f"{above}\n  {agent}{comma}{trailer}"
        # A comment directly above, and one behind, are the agent's.
        pieces += [(None, "# apart")] if "apart" in above else []
        pieces += [(name, agent), (name, trailer.strip())]
    return [Section(f"{text}\n]\n", None, (*(piece for piece in pieces if piece[1]), (None, "]")))]


@st.composite
def jcards(draw: st.DrawFn) -> Written:
    """A valid jcard in which every agent but at most one has a name."""
    names = draw(st.lists(st.sampled_from(["a", "b", "Long-name_1", "codex-z"]), unique=True, max_size=4))
    head = draw(st.sampled_from(["", "# top\n\n", '#:schema x\n\ntitle = "x"\n\n', "mixtape = 1 # m\n"]))
    last_break, crlf = draw(st.booleans()), draw(st.booleans())
    if names and draw(st.integers(0, 3)) == 0:
        return Written(head, tuple(draw(inline(names))), last_break, crlf)
    sections: list[Section] = []
    for index, name in enumerate(names):
        header = "agent" if index == 0 and draw(st.booleans()) else "agents"
        unnamed = index == 0 and draw(st.booleans())
        sections += draw(blocks(header, None if unnamed else name))
        sections.append(Section(draw(st.sampled_from(["", "\n", "\n\n", "\n# apart\n\n"])), None))
        if draw(st.booleans()):
            sections.append(draw(others()))
            sections.append(Section(draw(st.sampled_from(["", "\n"])), None))
    return Written(head, tuple(sections), last_break, crlf)
