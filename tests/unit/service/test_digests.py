"""The header Content-Digest: written and read as RFC 9530 says."""

import pytest

from service.digests import content_digest, digest_header, read_digest_header, sha256_hex

# The example of RFC 9530, appendix B.1.
CONTENT = b'{"hello": "world"}\n'
HEADER = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def test_a_digest_is_written_as_in_the_standard() -> None:
    assert content_digest(CONTENT) == HEADER
    assert digest_header(bytes.fromhex(sha256_hex(CONTENT))) == HEADER


@pytest.mark.parametrize("value", [HEADER, f"sha-512=:AAAA:, {HEADER}", f"{HEADER}, md5=:AAAA:"])
def test_a_digest_is_read_among_others(value: str) -> None:
    found = read_digest_header(value)
    assert found is not None
    assert found.hex() == sha256_hex(CONTENT)


@pytest.mark.parametrize(
    "value", ["", "sha-256", "sha-256=::", "sha-256=:AAAA:", "sha-256=:A:", HEADER.replace("6", "")]
)
def test_what_announces_no_sha256_is_none(value: str) -> None:
    assert read_digest_header(value) is None
