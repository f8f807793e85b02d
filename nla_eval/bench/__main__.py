"""Runs the comparisons and prints them; with --write, saves them in docs/bench.json and docs/performance.md."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from ..errors import NlaEvalError
from .figures import GOALS, Figure, into_page, save, shown

Measure = Callable[[], dict[str, Figure]]
_ROOT = Path(__file__).parents[2]


def machine() -> dict[str, str]:
    """The machine that the figures are measured on."""
    import torch

    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    fast = [name for name in ("avx512_bf16", "amx_bf16") if name in flags]
    return {
        "processor": model,
        "threads": str(torch.get_num_threads()),
        "bf16": ", ".join(fast) or "emulated",
        "torch": torch.__version__,
        "system": platform.system(),
    }


def measures(target_name: str, pack_name: str | None) -> Iterator[tuple[tuple[str, ...], Measure]]:
    """Each group of figures: its keys and the function that measures it. Models are loaded when a group runs."""
    from functools import cache, partial

    import torch

    from ..engines.kinds import RuntimeSettings
    from ..models.dtypes import torch_dtype
    from ..models.pack import default_pack, load_pack
    from ..models.target import load_target
    from ..pipeline.plan import Instrument
    from ..pipeline.runtime import runtime_for
    from . import browser, explore, large_files, report, sources, start, tally, training_memory
    from .engine import EngineBench, Load
    from .memory import growth, tiny_growth
    from .pipeline import flatness, rejudging
    from .training import TrainingLoad, steps_per_hour

    yield start.KEYS, start.measured
    yield report.KEYS, report.measured
    yield report.LARGE_KEYS, report.large
    if browser.chromium():
        yield browser.KEYS, browser.measured
    else:
        print(f"skipped: {', '.join(browser.KEYS)} (chromium and pip install nla_eval[browser])")
    yield sources.KEYS, sources.measured
    yield (sources.INSPECT_KEY,), sources.inspected
    for kind, key in large_files.FILE_KEYS.items():
        yield (key,), partial(large_files.large_file, kind)
    yield (large_files.MESSAGE_KEY,), large_files.large_message
    yield tally.KEYS, tally.measured
    yield (training_memory.KEY,), training_memory.peak
    target = load_target(target_name)
    pack = load_pack(pack_name) if pack_name else default_pack()

    @cache
    def bench(dtype: torch.dtype) -> EngineBench:
        return EngineBench(target, pack, Load(), dtype)

    instrument = Instrument(target, pack)
    scorer = runtime_for(RuntimeSettings(target_name, pack_name)).scorer
    yield ("capture_vs_full_logits", "capture_vs_single_logit"), lambda: bench(torch.float32).capture()
    fp32, bf16 = "verbalize_vs_batched_fp32", "verbalize_vs_batched_bf16"
    yield ("verbalize_vs_one_by_one", fp32), lambda: bench(torch.float32).verbalize(fp32, one_by_one=True)
    yield ("ar_vs_one_by_one",), lambda: bench(torch.float32).reconstruct()
    yield ("pipeline_flatness",), lambda: flatness(bench(torch.float32).engine, instrument, scorer)
    yield ("rejudge_fraction",), lambda: rejudging(bench(torch.float32).engine, instrument, scorer, pack.max_new_tokens)
    yield ("rss_growth_2k_8k_mb",), lambda: growth(2048, 8192, target_name, pack_name)
    yield ("rss_growth_32k_tiny_mb",), tiny_growth
    yield (bf16,), lambda: bench(torch.bfloat16).verbalize(bf16, one_by_one=False)
    yield (explore.KEY,), partial(explore.measured, target_name, pack_name)
    yield ("rl_steps_vs_naive",), lambda: steps_per_hour(target, pack, TrainingLoad(dtype=torch_dtype("auto", "cpu")))
    if find_spec("vllm") is not None:
        yield ("vllm_vs_ours",), lambda: bench(torch.float32).against_vllm()
    yield ("decode_peak_fraction_bf16", "prefill_peak_fraction_bf16"), lambda: bench(torch.bfloat16).peak_fractions()


def main() -> None:
    """Measure a target and a pack against the usual ways of doing the same. Default: the shipped ones."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench", description=main.__doc__)
    parser.add_argument("--target", default="smollm2-135m")
    parser.add_argument("--pack")
    parser.add_argument("--only", nargs="*", choices=sorted(GOALS), help="measure only these figures (default: all)")
    parser.add_argument("--write", action="store_true", help="save the figures below docs/")
    args = parser.parse_args()
    found: dict[str, Figure] = {}
    try:
        for keys, measure in measures(args.target, args.pack):
            if args.only and not set(args.only) & set(keys):
                continue
            now = measure()
            print(shown(now), flush=True)
            found.update(now)
            if args.write:
                _write(now)
    except NlaEvalError as err:
        raise SystemExit(f"bench: {err}") from None
    missed = [key for key, figure in found.items() if GOALS[key].reached(figure.value) is False]
    print(f"{len(found)} figures, {len(missed)} below their goal{': ' + ', '.join(missed) if missed else ''}")


def _write(figures: dict[str, Figure]) -> None:
    record, page = (_ROOT / "docs" / name for name in ("bench.json", "performance.md"))
    save(record, figures, machine())
    page.write_text(into_page(page.read_text(), json.loads(record.read_text())))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
