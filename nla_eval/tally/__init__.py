"""The tally: turns judgements into rates with intervals and controls. Reports depend on its types."""
