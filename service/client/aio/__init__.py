"""The client for asyncio, with the names and signatures of the client that blocks."""
