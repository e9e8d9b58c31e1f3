"""The filter of system calls, run as the kernel runs it."""

from __future__ import annotations

import errno
import struct

import pytest

from agentd.sandbox.seccomp import TIOCLINUX, TIOCSTI, terminal_filter

X86_64, AARCH64, I386, ARM, RISCV64 = 0xC000003E, 0xC00000B7, 0x40000003, 0x40000028, 0xC00000F3
ALLOW, ERROR = 0x7FFF0000, 0x00050000
TCGETS, FIONREAD = 0x5401, 0x541B


def decided(architecture: int, number: int, request: int = 0) -> int:
    """Interpret the program for one system call."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, 0, request, 0, 0, 0, 0)
    program = [*struct.iter_unpack("=HBBI", terminal_filter())]
    at = value = 0
    while True:
        code, on_true, on_false, operand = program[at]
        at += 1
        match code:
            case 0x20:
                [value] = struct.unpack_from("=I", data, operand)
            case 0x15:
                at += on_true if value == operand else on_false
            case 0x35:
                at += on_true if value >= operand else on_false
            case 0x06:
                assert isinstance(operand, int)
                return operand
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


@pytest.mark.parametrize(("architecture", "ioctl"), [(X86_64, 16), (AARCH64, 29)])
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_text_cannot_be_put_into_a_terminal(architecture: int, ioctl: int, high: int) -> None:
    for request in (TIOCSTI, TIOCLINUX):
        assert decided(architecture, ioctl, high | request) == ERROR | errno.EPERM
    for request in (TCGETS, FIONREAD, 0, TIOCSTI + 1):
        assert decided(architecture, ioctl, high | request) == ALLOW


@pytest.mark.parametrize(("architecture", "first"), [(X86_64, 248), (AARCH64, 217)])
def test_the_kernels_keys_are_not_there(architecture: int, first: int) -> None:
    decisions = [decided(architecture, number) for number in range(first - 1, first + 4)]
    assert decisions == [ALLOW, *3 * [ERROR | errno.ENOSYS], ALLOW]


@pytest.mark.parametrize("number", [0, 1, 15, 17, 28, 30, 59, 221, 435])
def test_every_other_call_is_the_kernels_business(number: int) -> None:
    assert decided(X86_64, number, TIOCSTI) == ALLOW
    assert decided(AARCH64, number, TIOCSTI) == ALLOW


@pytest.mark.parametrize(
    ("architecture", "number"),
    [(I386, 54), (ARM, 54), (RISCV64, 29), (0, 16), (X86_64, 0x40000000 | 16), (X86_64, 0x40000000 | 514)],
)
def test_no_other_way_to_make_calls_goes_around_it(architecture: int, number: int) -> None:
    assert decided(architecture, number, TIOCSTI) == ERROR | errno.ENOSYS
    assert decided(architecture, number, TCGETS) == ERROR | errno.ENOSYS
