"""nla_eval measures evaluation awareness: how often a model represents that it is being tested, said or unsaid.

    transcripts = nla_eval.read_transcripts("chats.jsonl", arm="deployment")
    nla_eval.read([transcripts, "blackmail"], "store")
    tally = nla_eval.make_tally("store")
    nla_eval.write_report(tally, "report.html")

The names in `__all__` are the public interface. Each is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._rooms import extend_path

__version__ = "0.1.0"

extend_path(__path__)

if TYPE_CHECKING:
    from .api import (
        ReadOptions,
        Transcripts,
        Weights,
        load_engine,
        make_tallies,
        make_tally,
        read,
        read_transcripts,
        write_report,
    )
    from .engines.base import Captured, CaptureRequest, Draw, Engine, Sampling, VerbalizeRequest
    from .errors import NlaEvalError
    from .models.pack import Pack, load_pack
    from .models.target import Target, load_target
    from .pipeline.reading import ReadResult
    from .pipeline.reading_plan import ReadingPlan
    from .readings import Lane, Reading
    from .store.store import ReadingStore
    from .tally.types import SuiteTally, Tally
    from .transcript import Arm, Author, Transcript, TurnFacts

__all__ = [
    "Arm",
    "Author",
    "CaptureRequest",
    "Captured",
    "Draw",
    "Engine",
    "Lane",
    "NlaEvalError",
    "Pack",
    "ReadOptions",
    "ReadResult",
    "Reading",
    "ReadingPlan",
    "ReadingStore",
    "Sampling",
    "SuiteTally",
    "Tally",
    "Target",
    "Transcript",
    "Transcripts",
    "TurnFacts",
    "VerbalizeRequest",
    "Weights",
    "__version__",
    "load_engine",
    "load_pack",
    "load_target",
    "make_tallies",
    "make_tally",
    "read",
    "read_transcripts",
    "write_report",
]

_HOME = {
    "api": (
        *("ReadOptions", "Transcripts", "Weights", "load_engine", "make_tallies", "make_tally", "read"),
        *("read_transcripts", "write_report"),
    ),
    "engines.base": ("CaptureRequest", "Captured", "Draw", "Engine", "Sampling", "VerbalizeRequest"),
    "errors": ("NlaEvalError",),
    "models.pack": ("Pack", "load_pack"),
    "models.target": ("Target", "load_target"),
    "pipeline.reading": ("ReadResult",),
    "pipeline.reading_plan": ("ReadingPlan",),
    "readings": ("Lane", "Reading"),
    "store.store": ("ReadingStore",),
    "tally.types": ("SuiteTally", "Tally"),
    "transcript": ("Arm", "Author", "Transcript", "TurnFacts"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        offered = ", ".join(public for public in __all__ if not public.startswith("_"))
        raise AttributeError(f"module 'nla_eval' has no attribute '{name}'; it offers {offered}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
