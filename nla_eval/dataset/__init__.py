"""Operations on a suite's transcripts as a set: families, matching, languages, overview and masking."""
