"""Your own chats to a polars frame: one row per explanation.

python examples/own_chats.py chats.jsonl store
"""

import sys

import nla_eval


def main(chats: str, store: str) -> None:
    """Read every chat at four positions, then look at the explanations as a table."""
    transcripts = nla_eval.read_transcripts(chats, arm="deployment")
    print(f"{len(transcripts)} transcripts, {len(transcripts.skipped)} records left out")
    plan = nla_eval.ReadingPlan(positions="stratified(4)", lanes="measured")
    nla_eval.read(transcripts, store, plan)
    readings = nla_eval.ReadingStore.open(store).readings()
    print(readings.select("transcript_id", "position", "token", "explanation", "fve_nrm"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
