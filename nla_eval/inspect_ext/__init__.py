"""The pipeline inside Inspect: solver steps, the scorer, the model provider `nla/`, and what a log keeps."""
