"""Two suites to one report: an evaluation beside real usage.

python examples/two_suites.py blackmail real_usage store report.html
"""

import sys

import nla_eval


def main(evaluation: str, deployment: str, store: str, report: str) -> None:
    """Read a few transcripts of both arms, count what was said and read, write the report."""
    plan = nla_eval.ReadingPlan(positions="stratified(4)", lanes="measured,donor")
    nla_eval.read([evaluation, deployment], store, plan, options=nla_eval.ReadOptions(limit=3))
    tally = nla_eval.make_tally(store)
    for suite in tally.suites:
        found = suite.under(tally.primary)
        print(suite.suite, suite.arm, suite.transcripts, "V", found.verbalized.rate.value)
    print(nla_eval.write_report(tally, report))


if __name__ == "__main__":
    main(*sys.argv[1:5])
