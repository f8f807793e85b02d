"""The engine that runs capture and verbalization on vLLM, in process or against a server."""
