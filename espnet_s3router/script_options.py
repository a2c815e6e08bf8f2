"""Options of a script, declared once in a dataclass: read from a command line, kept in a YAML file, handed to bash.

A script with stages runs ``assignments=$(python -m MODULE "$@")`` and evaluates what that prints. Every call of a script
waits for this, so nothing here imports a heavy package.
"""

import ast
import dataclasses
import difflib
import inspect
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml, write_atomic

Words = tuple[str, ...]
FROM_ENVIRONMENT = "environment"
"""Key of a field's metadata: the environment variable that sets it. Such a field is no option of the command line."""
RECIPE_OPTIONS = "recipe_options"
"""Environment variable with the help lines of the options that a run.sh handles itself (see common.sh)."""


def require(condition: object, message: str) -> None:
    """Raises InputError with the message unless the condition holds."""
    if not condition:
        raise InputError(message)


def from_environment(name: str, default: str) -> Any:
    """A field that bash sets through the exported variable ``name``."""
    return dataclasses.field(default=default, metadata={FROM_ENVIRONMENT: name})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScriptOptions:
    """Base of the options of one script. A field is an option; its docstring is the help text, a comment names its group."""

    def check(self) -> None:
        """Raises InputError for values that are out of range or contradict each other."""
        raise NotImplementedError

    def corpus_check(self) -> str:
        """Bash that looks for the corpus, prints what it found and ends the script; for ``--check_corpus true``."""
        raise NotImplementedError

    def for_bash(self) -> Mapping[str, Any]:
        """The variables that the script needs: name to value."""
        raise NotImplementedError

    @classmethod
    def on_command_line(cls) -> dict[str, dataclasses.Field]:
        """The fields that a user can set, by name."""
        return {field.name: field for field in dataclasses.fields(cls) if FROM_ENVIRONMENT not in field.metadata}

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Options from ``--a_b VALUE`` or ``--a-b VALUE`` pairs; the last one of a name wins. Raises InputError."""
        fields, values, rest = cls.on_command_line(), cls._of_environment(), iter(words)
        for word in rest:
            if not word.startswith("--"):
                raise InputError(f"unexpected argument {word}; options begin with --")
            name = word[2:].replace("-", "_")
            if name not in fields:
                raise InputError(f"unknown option {word}{_near(name, fields)}; see --help")
            text = next(rest, None)
            if text is None:
                raise InputError(f"option {word} needs a value")
            values[name] = _value(name, fields[name].type, text)
        return cls(**values)

    @classmethod
    def _of_environment(cls) -> dict[str, Any]:
        """What exported variables set."""
        names = {f.name: f.metadata[FROM_ENVIRONMENT] for f in dataclasses.fields(cls) if FROM_ENVIRONMENT in f.metadata}
        return {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Options from the file that ``text`` was written to. Raises InputError for an unknown key."""
        content = read_yaml(path)
        if unknown := content.keys() - {field.name for field in dataclasses.fields(cls)}:
            raise InputError(f"{path}: unknown option {min(unknown)}; the file was written by another version")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})

    def text(self) -> str:
        """The options as YAML."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)

    def write(self, path: str | Path) -> None:
        """Write the options as YAML, whole or not at all."""
        write_atomic(path, self.text())

    @classmethod
    def help(cls) -> str:
        """The head comment of ./run.sh, the options of that run.sh, and those of the script in their groups."""
        lines, own = [*head_comment(Path("run.sh"))], os.environ.get(RECIPE_OPTIONS, "")
        if own:
            lines += ["", "Options of this recipe, with their defaults:", *own.splitlines()]
        lines += ["", "Options of all recipes, with the values used where the recipe sets none:"]
        group = ""
        for field_group, name, text in _documented(cls):
            if field_group != group:
                group = field_group
                lines += [f"# {group}"]
            default = shown(cls.on_command_line()[name].default)
            option = f'--{name} "{default}"' if " " in default else f"--{name} {default}"
            lines.append(f"{option:<40} {text}")
        return "\n".join(lines).strip()

    @classmethod
    def main(cls, argv: Sequence[str] | None = None) -> int:
        """Check the options and print bash that sets the variables of ``for_bash``. Exit status 2 for a wrong option."""
        words = sys.argv[1:] if argv is None else list(argv)
        try:
            if {"-h", "--help"} & set(words):
                print(print_and_exit(cls.help()))
                return 0
            options = cls.parse(words)
            options.check()
            if getattr(options, "check_corpus", False):
                print(options.corpus_check())
                return 0
            print("\n".join(f"{name}={_quoted(value)}" for name, value in options.for_bash().items()))
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0


def _value(name: str, kind: Any, text: str) -> Any:
    """The value that ``text`` stands for in a field of type ``kind``."""
    if kind is bool:
        if text not in ("true", "false"):
            raise InputError(f"--{name} is {text!r}, expected true or false")
        return text == "true"
    several = get_origin(kind) is tuple
    item = get_args(kind)[0] if several else kind
    try:
        return tuple(item(word) for word in shlex.split(text)) if several else item(text)
    except ValueError as error:
        expected = f"words, but: {error}" if item is str else "numbers" if several else "a number"
        raise InputError(f"--{name} is {text!r}, expected {expected}") from error


def _near(name: str, fields: Mapping[str, Any]) -> str:
    """A suggestion for a misspelt option; empty where no name is near."""
    own = [line.removeprefix("--").split()[0] for line in os.environ.get(RECIPE_OPTIONS, "").splitlines()]
    near = difflib.get_close_matches(name, [*fields, *own], n=2)
    return f" (did you mean {' or '.join(f'--{match}' for match in near)}?)" if near else ""


def _documented(cls: type) -> Iterator[tuple[str, str, str]]:
    """Group, name and help text of every option of a class, from its source and then from those of its bases."""
    for one in cls.__mro__:
        if one is not ScriptOptions and issubclass(one, ScriptOptions):
            yield from _declared(one)


def _declared(cls: type[ScriptOptions]) -> Iterator[tuple[str, str, str]]:
    """As ``_documented``, of the options that the class itself declares."""
    source = inspect.getsource(cls)
    lines, body = source.splitlines(), ast.parse(source).body[0].body  # type: ignore[attr-defined]
    for node, following in zip(body, body[1:]):
        if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr) and node.target.id in cls.on_command_line():  # type: ignore
            above = [line.strip() for line in lines[: node.lineno] if line.startswith("    # ")]
            text = " ".join(str(following.value.value).split())  # type: ignore[attr-defined]
            yield (above[-1].removeprefix("# ") if above else "", node.target.id, text)  # type: ignore[union-attr]


def head_comment(script: Path) -> list[str]:
    """The comment lines below the first line of a script, without their marks; none where there is no script."""
    lines = script.read_text("utf-8").splitlines()[1:] if script.is_file() else []
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:end]]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown(value: Any) -> str:
    """A value as a user would type it between quotes."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else _plain(value)


def _quoted(value: Any) -> str:
    """A value as bash reads it: a tuple or list becomes an array."""
    if isinstance(value, tuple | list):
        return f"({' '.join(shlex.quote(_plain(item)) for item in value)})"
    return shlex.quote(_plain(value))


def module_instead(python: str, module: Sequence[str]) -> str:
    """Bash that runs a Python module, with its options, in place of the script."""
    return f"exec {shlex.join([python, '-m', *module])}"


def print_and_exit(text: str) -> str:
    """Bash that prints a text and ends the script."""
    return f"printf '%s\\n' {shlex.quote(text)}; exit 0"
