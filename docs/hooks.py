"""Hooks of the documentation site: pages made from the code and from the files at the top, and links out of docs.

MkDocs calls `on_files` and `on_page_markdown`. Nothing is written into the repository: generated pages exist in the
built site only, so they cannot go stale."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TOP = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"} | {
    "SECURITY.md": "report-a-weakness.md"
}
"""Pages at the top of the repository and where they stand in the site."""
ROLE = re.compile(r"\[(end|system|user|assistant)\](?!\()")
"""A role as explanations quote it, which is no link."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and those at the top."""
    from mkdocs.structure.files import File

    for name, place in TOP.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links to where a page stands in the site; a link to a file of the repository becomes its name."""
    source = {place: name for name, place in TOP.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    linked = LINK.sub(lambda found: _link(found, source, page.file.src_uri), markdown)
    return ROLE.sub(r"\\[\1\\]", linked) if page.file.src_uri == "explanations.md" else linked


def _link(found: re.Match[str], source: str, uri: str) -> str:
    picture, text, place, anchor = found[1], found[2], found[3], found[4] or ""
    target = (ROOT / source).parent.joinpath(place).resolve()
    if not target.is_relative_to(ROOT):
        return found[0]
    name = target.relative_to(ROOT).as_posix()
    inside = TOP.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
    if inside is None or (inside.endswith(".json")):
        return f"{text} (`{name}`)" if text.strip("`") != name else f"`{name}`"
    depth = uri.count("/")
    return f"{picture}[{text}]({'../' * depth}{inside}{anchor})"


def _commands() -> str:
    from nla_eval.commands.reference import page

    return page()


def _options() -> str:
    from nla_eval.cards.choices import ReadingChoices
    from nla_eval.engines.kinds import RuntimeSettings
    from nla_eval.inspect_ext.on_policy import AnswerSettings
    from nla_eval.inspect_ext.options import TaskOptions
    from nla_eval.inspect_ext.scorer import awareness
    from nla_eval.pipeline.options import declared
    from nla_eval.pipeline.reading_plan import ReadingPlan

    plan = [(name, _word(default), what.help) for name, (what, default) in declared(ReadingPlan).items()]
    task = [row for row in _fields(TaskOptions) if row[0] != "plan"]
    parts = [
        "# Options in Inspect",
        "Made from the code. Names are the same in Python and, with `--` and hyphens, on the command line.",
        "## Of every task: `-T name=value`",
        _table(("option", "default", ""), [*plan, *task]),
        '`answers` is a mapping, as in `-T "answers={max_tokens: 512}"`. Its fields:',
        _table(("field", "default", ""), _fields(AnswerSettings)),
        "## Of `nla_eval/awareness`: transcripts of your own",
        "Besides the above: `source`, `arm` (evaluation, deployment or monitor), `suite`, `reader`, and:",
        _table(("option", "default", ""), _fields(ReadingChoices)),
        "## Of the target: `-M name=value`",
        "With `--model nla/TARGET`, where TARGET is `smollm2-135m`, a folder, or a hub id `owner/name`.",
        _table(("option", "default", ""), [row for row in _fields(RuntimeSettings) if row[0] != "target"]),
        "## Of the scorer `nla_eval/awareness`: `-S name=value`",
        inspect.cleandoc(awareness.__doc__ or "").replace("    ", ""),
    ]
    return "\n\n".join(parts) + "\n"


def _python() -> str:
    import nla_eval
    from nla_eval import _MODULE_OF

    blocks = [f"::: nla_eval.{_home(_MODULE_OF[name], name)}" for name in nla_eval.__all__ if name in _MODULE_OF]
    intro = "The names of `import nla_eval`. [From Python](../python.md) shows how they go together."
    return "\n\n".join(["# Python", intro, *blocks]) + "\n"


def _home(module: str, name: str) -> str:
    """The module that defines a name, so that its source can be read without importing it."""
    import nla_eval

    module = getattr(getattr(nla_eval, name), "__module__", f"nla_eval.{module}")
    return f"{module.removeprefix('nla_eval.')}.{name}"


def _schemas() -> str:
    from nla_eval.cards.card import SuiteCard
    from nla_eval.judgement import Judgement
    from nla_eval.judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA
    from nla_eval.readings import Reading
    from nla_eval.store import rows
    from nla_eval.store.store import StoreIdentity
    from nla_eval.tally import types

    parts = ["# Schemas", "Made from the code: columns of Parquet parts, and the fields of JSON and YAML files."]
    frames = {"Judgements": JUDGEMENT_SCHEMA, "Judged turns": TURN_SCHEMA}
    frames |= {
        f"Parts of a store: {name.removesuffix('_SCHEMA').removesuffix('SCHEMA').lower() or 'readings'}": schema
        for name, schema in sorted(vars(rows).items())
        if name.endswith("SCHEMA")
    }
    for title, schema in sorted(frames.items()):
        parts += [f"## {title}", _table(("column", "type"), [(n, str(t)) for n, t in dict(schema).items()])]
    models = {"A reading": Reading, "A judgement": Judgement, "store.json": StoreIdentity, "A suite's card": SuiteCard}
    for title, model in models.items():
        parts += [f"## {title}", _table(("field", "default", ""), _fields(model))]
    parts += ["## A tally", "What a report is made from, and what `tally.model_dump_json()` writes."]
    for name, model in vars(types).items():
        if inspect.isclass(model) and hasattr(model, "model_fields") and model.__module__ == types.__name__:
            rows_ = _fields(model)
            parts += [f"### {name}", _first(model), *([_table(("field", "default", ""), rows_)] if rows_ else [])]
    return "\n\n".join(parts) + "\n"


def _rubrics() -> str:
    parts = ["# Rubrics", "A rate is meaningless without its rubric. Reports name its id and hash."]
    for path in sorted((ROOT / "classifiers" / "rubrics").glob("*.yaml")):
        parts += [f"## {path.stem}", f"```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _suites() -> str:
    from nla_eval.cards.card import SuiteCard

    parts = ["# Suite cards", "Made from the cards beside the suites. [Suites](../suites.md) says how to use them."]
    for path in sorted((ROOT / "suites").glob("*.yaml")):
        card = SuiteCard.load(path)
        facts = [
            ("arm", card.arm.value),
            ("source", card.source),
            ("licence", card.licence),
            ("transcripts", str(card.count or "yours")),
            ("families", card.families),
            ("last turn by", card.answers_by.value),
            ("needs", card.install or card.needs.value),
        ]
        notes = "\n".join(f"- {note}" for note in card.notes)
        parts += [f"## {card.name}", card.title + ".", _table(("", ""), facts), notes]
    return "\n\n".join(filter(None, parts)) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "options": _options,
    "python": _python,
    "schemas": _schemas,
    "rubrics": _rubrics,
    "suites": _suites,
}
"""Pages of the reference, each made when the site is built."""


def _fields(model: Any) -> list[tuple[str, str, str]]:
    """(name, default, meaning) of the fields of a pydantic model or dataclass; the meaning stands below a field."""
    meanings = dict(_meanings(model))
    if hasattr(model, "model_fields"):
        defaults = {
            n: "" if f.is_required() else _word(f.get_default(call_default_factory=True))
            for n, f in model.model_fields.items()
        }
    else:
        defaults = {n: _word(getattr(model, n, "")) for n in getattr(model, "__dataclass_fields__", {})}
    return [(name, default, meanings.get(name, "")) for name, default in defaults.items()]


def _meanings(model: type) -> Iterator[tuple[str, str]]:
    for base in reversed(model.__mro__):
        if not base.__module__.startswith("nla_eval"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = getattr(tree, "body", [])
        for field, after in pairwise(body):
            said = after.value if isinstance(after, ast.Expr) else None
            if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield ast.unparse(field.target), " ".join(said.value.split())


def _first(model: type) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _word(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, *rest in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in rest]
        lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
    return "\n".join(lines)
