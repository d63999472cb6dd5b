"""What is on the wire: payloads, frames, and messages of a WebSocket.

The payloads' classes are made of client.proto by protoc at start. Never takes what contradicts the
protocol: that raises `Violation`.
"""

import base64
import hashlib
import importlib.util
import secrets
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from pathlib import Path

# A frame is never longer, nor is what the server has for a client with little credit at a time.
FRAME_BYTES_MAX = 1 << 20
HTTP_BYTES_MAX = 16 << 10
# A request, a handshake, a write.
IO_S = 10

HELLO, WELCOME, SEND, SEND_ACK, SEND_NACK = 0x01, 0x02, 0x03, 0x04, 0x05
DELIVER, ACK, FETCH, PAGE, SIGNAL, RECEIPT = 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B
CHALLENGE, RESULT, PING, PONG = 0x0E, 0x11, 0x20, 0x21
GOAWAY, ERROR = 0x24, 0x2F


def _payloads():
    """The classes that protoc makes of client.proto."""
    protos = Path(__file__).resolve().parents[2] / "crates" / "proto" / "proto"
    with tempfile.TemporaryDirectory() as out:
        command = ["protoc", f"-I{protos}", f"--python_out={out}", "iris/client.proto"]
        subprocess.run(command, check=True)
        file = Path(out) / "iris" / "client_pb2.py"
        spec = importlib.util.spec_from_file_location("client_pb2", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


pb = _payloads()


class Violation(Exception):
    """The server did what the protocol does not allow."""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def account_bytes(text):
    """The 16 bytes of `u_` and 26 characters."""
    text = text.lower()
    if len(text) != 28 or not text.startswith("u_"):
        raise ValueError(f"not an account: {text}")
    number = 0
    for char in text[2:].translate(str.maketrans("oil", "011")):
        number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(char)
    return (number >> 2).to_bytes(16, "big")


def pack(kind, payload, corr=None):
    """One frame."""
    body = payload.SerializeToString() if hasattr(payload, "SerializeToString") else payload
    if corr is not None:
        body = struct.pack(">I", corr) + body
    return len(body).to_bytes(3, "big") + bytes([kind, corr is not None]) + body


def unpack(message):
    """The frames of one message: type, correlation id, payload."""
    while message:
        size = 5 + int.from_bytes(message[:3], "big")
        if len(message) < size or size > FRAME_BYTES_MAX:
            raise Violation("a message of the WebSocket does not hold whole frames")
        kind, flags, body = message[3], message[4], message[5:size]
        if flags & ~0x81 or flags & 1 and len(body) < 4:
            raise Violation(f"flags {flags:#x}")
        corr = struct.unpack(">I", body[:4])[0] if flags & 1 else None
        yield kind, corr, body[4:] if flags & 1 else body
        message = message[size:]


class WebSocket:
    """Binary messages over TLS: as much of RFC 6455 as a client needs, and no more."""

    def __init__(self, plain, host, port, tls):
        """`plain` is a connection to that host and port, or to what leads there."""
        plain.settimeout(IO_S)
        self.sock = tls.wrap_socket(plain, server_hostname=host)
        self.buffer, self.parts = bytearray(), bytearray()
        try:
            self._upgrade(f"{host}:{port}")
        except BaseException:
            self.close()
            raise

    def _upgrade(self, host):
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.sock.sendall(
            f"GET /v1/connect HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: iris.v1\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HTTP_BYTES_MAX:
                raise Violation("the head of the answer has no end")
            self._read(IO_S)
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(":", 1) for line in lines)
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        accept = base64.b64encode(digest).decode().lower()
        if status.split()[1] != "101" or fields["sec-websocket-accept"].strip() != accept:
            raise OSError(f"no WebSocket: {status}")
        if fields.get("sec-websocket-protocol", "").strip() != "iris.v1":
            raise Violation("another sub-protocol")

    def send(self, data, opcode=2):
        """One whole message."""
        size = len(data)
        if size < 126:
            head = bytes([0x80 | opcode, 0x80 | size])
        elif size < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = secrets.token_bytes(4)
        pad = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")
        self.sock.settimeout(IO_S)
        self.sock.sendall(head + mask + masked.to_bytes(size, "big"))

    def receive(self, wait_s):
        """The next binary message; none if none is complete in time."""
        until = time.monotonic() + wait_s
        while True:
            frame = self._take()
            if frame is None:
                if not self._read(max(0, until - time.monotonic())):
                    return None
                continue
            last, opcode, payload = frame
            if opcode == 8:
                raise OSError("the server closed the connection")
            if opcode == 9:
                self.send(payload, opcode=10)
            elif opcode in (0, 2):
                self.parts += payload
                if len(self.parts) > FRAME_BYTES_MAX:
                    raise Violation("a message of the WebSocket is too long")
                if last:
                    message, self.parts = bytes(self.parts), bytearray()
                    return message
            elif opcode != 10:
                raise Violation(f"a WebSocket frame of kind {opcode}")

    def _take(self):
        """One frame out of the buffer: whether it is a message's last, its kind, its payload."""
        if len(self.buffer) < 2:
            return None
        first, size, at = self.buffer[0], self.buffer[1], 2
        if first & 0x70 or size & 0x80:
            raise Violation("reserved bits, or a masked frame")
        if size >= 126:
            at = 4 if size == 126 else 10
            if len(self.buffer) < at:
                return None
            size = int.from_bytes(self.buffer[2:at], "big")
        if size > FRAME_BYTES_MAX:
            raise Violation("a frame of the WebSocket is too long")
        if len(self.buffer) < at + size:
            return None
        payload = bytes(self.buffer[at : at + size])
        del self.buffer[: at + size]
        return first & 0x80, first & 0x0F, payload

    def _read(self, wait_s):
        """Whether something came."""
        self.sock.settimeout(wait_s)
        try:
            data = self.sock.recv(1 << 16)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        if not data:
            raise OSError("the connection ended")
        self.buffer += data
        return True

    def close(self):
        """Ends the TCP connection with a reset; what is on its way is gone, both ways."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
