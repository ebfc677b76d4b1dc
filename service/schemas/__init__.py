"""Bodies of requests and answers, as pydantic models alone: server and client share them."""
