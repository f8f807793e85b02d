"""The vLLM engines: capture and verbalization in process, or verbalization on servers."""
