"""The tally: judgements in, rates with intervals and controls out. Its types are the report's contract."""
