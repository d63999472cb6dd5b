"""A client of the protocol iris/1, written from docs/protocol.md and client.proto alone.

It connects through a WebSocket, since Python's `ssl` cannot export key material. One thread uses
one `Client`; `step` does all that is due and never waits long.

Needs protoc and the Debian packages python3-protobuf and python3-cryptography. Never tells the
server that it has what is not on its disk.
"""

import collections
import http.client
import json
import random
import secrets
import socket
import ssl
import struct
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization import PrivateFormat, PublicFormat

import wire
from disk import Disk
from wire import IO_S, Violation, WebSocket, account_bytes, b64, pack, pb, unpack

# What is put into one message of the WebSocket; one frame may be longer.
BATCH_BYTES_MAX = 64 << 10
FRAMES_IN_STEP_MAX = 64
MARKS_MAX = 128
# The credit for deliveries. It is small, so that it is used up and given back all the time.
CREDIT = pb.Window(messages=64, bytes=256 << 10)
# A client gives a connection up that does not answer its sends for so long.
ANSWER_S = 6
# How long a question is asked again and again.
PATIENCE_S = 20
READ_AGAIN_S = 3
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 60

# Codes after which a question is asked again.
ASK_AGAIN = (4290, 5001, 5002, 5003)
# What ERROR may say and the client goes on by itself, after it has new tokens if that is asked for.
GO_ON = (
    pb.VERDICT_RECONNECT,
    pb.VERDICT_RECONNECT_ELSEWHERE,
    pb.VERDICT_SNAPSHOT,
    pb.VERDICT_REFRESH_TOKEN,
)


class Ended(Exception):
    """The connection ended with ERROR."""

    def __init__(self, error):
        super().__init__(f"{error.code} {error.text}")
        self.verdict, self.retry_after_s = error.verdict, error.retry_after_ms / 1000


class Refused(Exception):
    """An HTTPS request was refused."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text}")
        self.code = code


class Client:
    """A device of an account."""

    def __init__(self, server, ca, path, dial=None):
        """`server` is host:port, `ca` and `path` are files; `dial` replaces the TCP connection."""
        self.host, port = server.rsplit(":", 1)
        self.port = int(port)
        self.tls = ssl.create_default_context(cafile=ca)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.tls.set_alpn_protocols(["http/1.1"])
        self.dial = dial or (lambda: socket.create_connection((self.host, self.port), IO_S))
        self.disk = Disk(path)
        self.link = None
        self.welcome = None
        # Counts the times after which the server knows nothing of what was asked or watched.
        self.era = 0
        self.not_before, self.backoff_s = 0, BACKOFF_MIN_S
        self.corr, self.answers, self.ponged = 0, {}, None
        counted = ["connections", "sends_repeated", "places_repeated", "nacks", "owner_changes"]
        self.counts = dict.fromkeys(counted, 0)
        self.written_max = 0

    # Accounts and tokens.

    def register(self, handle, password):
        self._enter("/v1/register", handle, password)

    def login(self, handle, password):
        self._enter("/v1/login", handle, password)

    def refresh(self):
        token = self.disk.tokens["refresh_token"]
        proof = self.disk.key.sign(b"iris/1 refresh\0" + token.encode())
        self._tokens(self._post("/v1/token", {"refresh_token": token, "proof": b64(proof)}))

    @property
    def account(self):
        return account_bytes(self.disk.tokens["account"])

    def _enter(self, path, handle, password):
        if self.disk.key is None:
            key = Ed25519PrivateKey.generate()
            private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            self.disk.write(what="key", private=b64(private))
            self.disk.sync()
        public = self.disk.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        device = {"public_key": b64(public), "name": "python"}
        self._tokens(self._post(path, {"handle": handle, "password": password, "device": device}))

    def _tokens(self, tokens):
        self.disk.write(what="tokens", tokens=tokens)
        self.disk.sync()

    def _post(self, path, body):
        """The good answer to a request. One whose answer was lost is sent again."""
        until = time.monotonic() + PATIENCE_S
        while True:
            wait_s = BACKOFF_MIN_S
            link = http.client.HTTPSConnection(self.host, self.port, timeout=IO_S, context=self.tls)
            try:
                link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = link.getresponse()
                answer = json.loads(response.read(wire.HTTP_BYTES_MAX))
                if response.status == 200:
                    return answer
                if answer["code"] not in ASK_AGAIN or time.monotonic() > until:
                    raise Refused(answer["code"], answer["text"])
                wait_s = answer["retry_after_ms"] / 1000
            except (OSError, http.client.HTTPException):
                if time.monotonic() > until:
                    raise
            finally:
                link.close()
            time.sleep(wait_s)

    # What the application asks for.

    def send(self, to, body):
        """Binds a number to a message for good; returns the number and the message's name."""
        message = pb.Send(client_seq=self.disk.next_seq, msg_id=secrets.token_bytes(16), body=body)
        message.to.account = to
        payload = message.SerializeToString()
        self.disk.write(what="bind", client_seq=message.client_seq, payload=b64(payload))
        return message.client_seq, message.msg_id

    def read(self, account, clock):
        """The person read what `account` wrote, up to this clock."""
        self.disk.write(what="read", account=account.hex(), clock=clock)
        self.read_said_at = 0

    def fetch(self, account, before=None, limit=100):
        """A page of the conversation: its entries, newest first, and where the next one begins."""
        question = pb.Fetch(limit=limit, before=before)
        question.conversation.account = account
        until, ask_at, asked = time.monotonic() + PATIENCE_S, 0, None
        while (now := time.monotonic()) < until:
            if self.link is not None and now >= ask_at and asked != self.era:
                asked, self.corr = self.era, (self.corr + 1) % (1 << 32)
                self._try(lambda: self.link.send(pack(wire.FETCH, question, self.corr)))
            self.step()
            kind, payload = self.answers.pop(self.corr, (None, None))
            if kind == wire.PAGE:
                page = pb.Page.FromString(payload)
                more = page.next if page.HasField("next") else None
                return [(item.inbox_seq, item.entry) for item in page.entries], more
            if kind == wire.RESULT:
                result = pb.CallResult.FromString(payload)
                if result.code not in ASK_AGAIN:
                    raise Refused(result.code, result.text)
                ask_at, asked = now + result.retry_after_ms / 1000, None
        raise TimeoutError("no page")

    def ping(self):
        """Waits for the answer to a PING."""
        echo, until, asked = secrets.randbits(63), time.monotonic() + PATIENCE_S, None
        while self.ponged != echo:
            if time.monotonic() > until:
                raise TimeoutError("no PONG")
            if self.link is not None and asked != self.era:
                asked = self.era
                self._try(lambda: self.link.send(pack(wire.PING, pb.Ping(echo=echo))))
            self.step()

    def step(self, wait_s=0.02):
        """Does what is due: connects, sends, receives, writes to the disk, acks."""
        if self.link is None and time.monotonic() < self.not_before:
            time.sleep(wait_s)
        elif self.link is None:
            self._try(self._connect)
        elif self._try(self.flush) and self._try(lambda: self.receive(wait_s)):
            self._try(self.settle)

    def cut(self):
        """Cuts the TCP connection, as a network might."""
        if self.link is not None:
            self._leave(0)

    # The connection.

    def _try(self, work):
        """Does something on the connection; false if that is the connection's end."""
        try:
            work()
            return self.link is not None
        except Ended as end:
            self._leave(end.retry_after_s)
            if end.verdict not in GO_ON:
                raise
            if end.verdict == pb.VERDICT_REFRESH_TOKEN:
                self.refresh()
        except OSError:
            self._leave(0)
        except Violation:
            self._leave(0)
            raise
        return False

    def _leave(self, retry_after_s):
        if self.link is not None:
            self.link.close()
        self.link = None
        wait_s = max(retry_after_s, random.uniform(0, self.backoff_s))
        self.not_before = time.monotonic() + wait_s
        self.backoff_s = min(2 * self.backoff_s, BACKOFF_MAX_S)

    def _connect(self):
        self.disk.sync()
        link = self.link = WebSocket(self.dial(), self.host, self.port, self.tls)
        self.frames, self.leave_at = collections.deque(), float("inf")
        challenge = pb.Challenge.FromString(self._expect(wire.CHALLENGE))
        device = self.disk.tokens["device"]
        proof = b"iris/1 hello\0" + challenge.nonce + self.account + struct.pack(">I", device)
        hello = pb.Hello(proto_min=1, proto_max=1, access_token=self.disk.tokens["access_token"])
        hello.MergeFrom(pb.Hello(device=device, proof=self.disk.key.sign(proof), window=CREDIT))
        hello.cursor, hello.stream_gen = self.disk.cursor, self.disk.stream_gen
        hello.marks, hello.sdk = self.disk.version, "python"
        link.send(pack(wire.HELLO, hello))
        self._welcomed(pb.Welcome.FromString(self._expect(wire.WELCOME)))

    def _expect(self, wanted):
        """The payload of the next frame, which is of this kind, or the connection ends."""
        while frame := self._next(IO_S):
            kind, corr, payload = frame
            if kind == wanted:
                return payload
            if kind not in (wire.GOAWAY, wire.ERROR):
                raise Violation(f"a frame of type {kind:#x} instead of {wanted:#x}")
            self._handle(kind, corr, payload)
        raise OSError("no answer in time")

    def _next(self, wait_s):
        """The next frame; none if none came in time."""
        if not self.frames:
            message = self.link.receive(wait_s)
            self.frames.extend(unpack(message) if message is not None else ())
        return self.frames.popleft() if self.frames else None

    def _welcomed(self, welcome):
        disk = self.disk
        if welcome.resume == pb.RESUME_SNAPSHOT_NEEDED:
            self._start(welcome.floor, welcome.stream_gen)
            raise OSError("connect again behind what is gone")
        if disk.stream_gen == 0:
            self._start(welcome.start, welcome.stream_gen)
        if (welcome.start, welcome.stream_gen) != (disk.cursor, disk.stream_gen):
            raise Violation(f"deliveries go on behind {welcome.start}, not {disk.cursor}")
        if disk.renumber:
            disk.write(what="renumber", next_seq=welcome.next_client_seq)
            disk.sync()
        lowest = min(disk.undecided, default=disk.next_seq)
        if not lowest <= welcome.next_client_seq <= disk.next_seq:
            raise Violation(f"{welcome.next_client_seq} is to be sent, {disk.next_seq} is free")
        now = time.monotonic()
        self.welcome, self.era = welcome, self.era + 1
        self.acked, self.unsent = disk.cursor, welcome.next_client_seq
        self.sends_at = self.read_said_at = 0
        self.answered_at = self.heard_at = self.pinged_at = now
        self.answers = {}
        self.counts["connections"] += 1

    def _start(self, cursor, stream_gen):
        self.disk.write(what="start", cursor=cursor, stream_gen=stream_gen)
        self.disk.sync()

    # Sending.

    def flush(self):
        """Sends what is bound, as far as the window goes, and says what else is due."""
        now = time.monotonic()
        if now >= self.leave_at:
            raise OSError("the edge asked to leave")
        self.disk.sync()
        frames = self._due_sends(now)
        if self.disk.reads and now >= self.read_said_at + READ_AGAIN_S:
            self.read_said_at = now
            frames.append(pack(wire.RECEIPT, self._receipt()))
        keepalive_s = self.welcome.keepalive_ms / 1000
        if now >= self.pinged_at + keepalive_s:
            self.pinged_at = now
            frames.append(pack(wire.PING, pb.Ping()))
        if now >= self.heard_at + 2 * keepalive_s:
            raise OSError("nothing came for too long")
        if any(seq < self.unsent for seq in self.disk.undecided):
            if now >= max(self.answered_at, self.sends_at) + ANSWER_S:
                raise OSError("the sends have no answer")
        if frames:
            self.link.send(b"".join(frames))

    def _due_sends(self, now):
        if now < self.sends_at:
            return []
        frames, size, window = [], 0, self.welcome.window
        sent = [payload for seq, payload in self.disk.undecided.items() if seq < self.unsent]
        count, waiting = len(sent), sum(5 + len(payload) for payload in sent)
        if not count:
            self.answered_at = now
        for seq, payload in self.disk.undecided.items():
            if seq < self.unsent:
                continue
            frame = pack(wire.SEND, payload)
            count, waiting, size = count + 1, waiting + len(frame), size + len(frame)
            full = count > window.messages or waiting > window.bytes
            if full and count > 1 or frames and size > BATCH_BYTES_MAX:
                break
            frames.append(frame)
            self.counts["sends_repeated"] += seq <= self.written_max
            self.unsent, self.written_max = seq + 1, max(seq, self.written_max)
        return frames

    def _receipt(self):
        receipt = pb.Receipt()
        for account, clock in list(self.disk.reads.items())[:MARKS_MAX]:
            mark = receipt.marks.add(own_read=clock)
            mark.conversation.account = bytes.fromhex(account)
        return receipt

    # Receiving.

    def receive(self, wait_s):
        """Handles what came. It is on the disk only after `settle`."""
        for _ in range(FRAMES_IN_STEP_MAX):
            frame = self._next(wait_s)
            if frame is None:
                return
            wait_s, self.heard_at = 0, time.monotonic()
            self._handle(*frame)

    def settle(self):
        """Writes what came to the disk, then acks it."""
        self.disk.sync()
        if self.disk.cursor > self.acked:
            self.link.send(pack(wire.ACK, pb.Ack(inbox_seq=self.disk.cursor)))
            self.acked = self.disk.cursor

    def _handle(self, kind, corr, payload):
        if kind in (wire.PAGE, wire.RESULT):
            self.answers[corr] = (kind, payload)
        elif kind == wire.PONG:
            self.ponged = pb.Ping.FromString(payload).echo
        elif kind == wire.PING:
            self.link.send(pack(wire.PONG, payload))
        elif kind in self.HANDLERS:
            make, handle = self.HANDLERS[kind]
            handle(self, make.FromString(payload))
        elif kind < 0x80:
            raise Violation(f"a frame of type {kind:#x}")

    def _on_deliver(self, deliver):
        for seq, entry in enumerate(deliver.entries, deliver.first_inbox_seq):
            if seq > self.disk.cursor + 1:
                raise Violation(f"a gap: {seq} after {self.disk.cursor}")
            if seq <= self.disk.cursor:
                self.counts["places_repeated"] += 1
                continue
            self.disk.write(what="place", inbox_seq=seq, entry=b64(entry.SerializeToString()))
            self.backoff_s = BACKOFF_MIN_S

    def _on_send_ack(self, ack):
        if ack.client_seq >= self.disk.next_seq:
            raise Violation(f"{ack.client_seq} is decided and was never sent")
        refused = {str(refusal.client_seq): refusal.code for refusal in ack.refusals}
        self.disk.write(what="decided", up_to=ack.client_seq, refused=refused)
        self.answered_at, self.backoff_s = time.monotonic(), BACKOFF_MIN_S

    def _on_send_nack(self, nack):
        again = [seq for seq in self.disk.undecided if seq >= nack.client_seq]
        self.unsent = min(again, default=self.disk.next_seq)
        self.answered_at = time.monotonic()
        self.sends_at = self.answered_at + nack.retry_after_ms / 1000
        self.counts["nacks"] += 1

    def _on_receipt(self, receipt):
        marks = {}
        for mark in receipt.marks:
            marks[mark.conversation.account.hex()] = [mark.own_read, mark.delivered, mark.read]
        self.disk.write(what="marks", marks=marks, version=receipt.version)

    def _on_signal(self, signal):
        if signal.WhichOneof("kind") == "owner_changed":
            self.era += 1
            self.read_said_at = 0
            self.counts["owner_changes"] += 1

    def _on_goaway(self, goaway):
        self.leave_at = time.monotonic() + random.uniform(0, goaway.jitter_ms / 1000)

    def _on_error(self, error):
        raise Ended(error)

    # By type: the payload, and what is done with it.
    HANDLERS = {
        wire.DELIVER: (pb.Deliver, _on_deliver),
        wire.SEND_ACK: (pb.SendAck, _on_send_ack),
        wire.SEND_NACK: (pb.SendNack, _on_send_nack),
        wire.RECEIPT: (pb.Receipt, _on_receipt),
        wire.SIGNAL: (pb.Signal, _on_signal),
        wire.GOAWAY: (pb.GoAway, _on_goaway),
        wire.ERROR: (pb.Error, _on_error),
    }
