"""Card figures: masking hides exactly the words of the recent context, intervals are by conversation, copied training
strings are found."""

from __future__ import annotations

import numpy as np

from nla_eval.training.evaluate import figure, longest_shared_run, masked
from nla_eval.training.told import told_pairs


def test_masking_hides_every_word_of_the_recent_context_and_no_other() -> None:
    assert masked("after: warm the Oven; next: for", "heat THE oven now") == "after: warm … …; next: for"


def test_the_interval_widens_when_positions_of_a_conversation_move_together() -> None:
    values = np.repeat([0.0, 1.0] * 10, 20)
    together = figure(values, np.repeat(np.arange(20), 20))
    apart = figure(values, np.arange(400))
    assert together.value == apart.value == 0.5
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_a_copied_training_string_is_found_unless_it_stands_in_its_own_context() -> None:
    training = ["the quick brown fox jumps over the lazy dog"]
    text = "prose\nafter: brown fox jumps over\nnow: the"
    assert longest_shared_run([text], training, ["nothing here"])[0] == 4
    assert longest_shared_run([text], training, ["quick brown fox jumps over the"])[0] == 0


def test_told_pairs_differ_in_their_notice_only() -> None:
    for pair in told_pairs():
        told, untold = pair.told.messages[1].text, pair.untold.messages[1].text
        assert told != untold
        assert told.split(".")[0].split("?")[0] == untold.split(".")[0].split("?")[0]
        assert pair.told.family == pair.untold.family
