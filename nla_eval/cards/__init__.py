"""What a suite's card says, as plain values. Imports neither Inspect nor anything else that is slow to import."""
