"""What a suite's transcripts are as a set: families, matching, languages, design and what is masked in them."""
