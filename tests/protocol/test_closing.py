"""The close codes (R5, RFC 6455 section 7.4.1 and the IANA registry)."""

import websockets.frames
import wsproto.frame_protocol

from dorrit.protocol.closing import CloseCode


def test_R5_the_codes_and_names_are_those_of_the_registry() -> None:
    assert {code.value: code.name for code in CloseCode} == {
        1000: "NORMAL_CLOSURE",
        1001: "GOING_AWAY",
        1002: "PROTOCOL_ERROR",
        1003: "UNSUPPORTED_DATA",
        1005: "NO_STATUS_RCVD",
        1006: "ABNORMAL_CLOSURE",
        1007: "INVALID_FRAME_PAYLOAD_DATA",
        1008: "POLICY_VIOLATION",
        1009: "MESSAGE_TOO_BIG",
        1010: "MANDATORY_EXT",
        1011: "INTERNAL_ERROR",
        1012: "SERVICE_RESTART",
        1013: "TRY_AGAIN_LATER",
        1014: "BAD_GATEWAY",
        1015: "TLS_HANDSHAKE",
        3000: "UNAUTHORIZED",
        3003: "FORBIDDEN",
        3008: "TIMEOUT",
    }


def test_R5_a_code_is_an_integer_and_can_be_looked_up_by_it() -> None:
    assert CloseCode(1009) is CloseCode.MESSAGE_TOO_BIG
    assert {1009: "found"}[CloseCode.MESSAGE_TOO_BIG] == "found"
    assert f"{CloseCode.MESSAGE_TOO_BIG:d}" == "1009"
    assert int(CloseCode.GOING_AWAY).to_bytes(2, "big") == b"\x03\xe9"


def test_R5_each_code_has_a_meaning_of_one_line_of_its_own() -> None:
    meanings = [code.meaning for code in CloseCode]
    assert len(set(meanings)) == len(meanings)
    for meaning in meanings:
        assert meaning.isprintable()
        assert 0 < len(meaning) <= 80


def test_R5_the_codes_that_other_implementations_know_are_known() -> None:
    peers = {
        *map(int, websockets.frames.CloseCode),
        *map(int, wsproto.frame_protocol.CloseReason),
    }
    assert {code for code in peers if code < 3000} <= set(CloseCode)
