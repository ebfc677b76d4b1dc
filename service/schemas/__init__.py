"""Bodies of requests and answers: pydantic models that server and client share."""
