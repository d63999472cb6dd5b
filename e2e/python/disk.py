"""What a device keeps on its disk.

Never forgets what `sync` was told to keep; what was only written may be gone after a crash.
"""

import json
import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wire import b64, pb, unb64


class Disk:
    """What a device keeps: a file of JSON lines, read from its beginning at start.

    `write` changes the state in memory, which is at every moment what the lines make of it; only
    `sync` makes it last.
    """

    def __init__(self, path):
        self.key = None
        self.tokens = None
        self.stream_gen, self.cursor, self.inbox = 0, 0, []
        # Whether the undecided messages need numbers of a new generation.
        self.renumber = False
        self.next_seq, self.undecided, self.refused = 1, {}, {}
        # By account: what was read and has no mark yet; own_read, delivered, read.
        self.reads, self.marks, self.version = {}, {}, 0
        new = not os.path.exists(path)
        self.file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if new:
            folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        whole = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # A crash tore it: nobody was told that it is there.
            self._apply(**json.loads(line))
            whole += len(line)
        self.file.truncate(whole)
        self.file.seek(whole)
        self.lines = []

    def write(self, **record):
        self._apply(**record)
        self.lines.append(json.dumps(record) + "\n")

    def sync(self):
        if self.lines:
            self.file.write("".join(self.lines).encode())
            self.file.flush()
            os.fsync(self.file.fileno())
            self.lines = []

    def _apply(self, what, **record):
        getattr(self, f"_apply_{what}")(**record)

    def _apply_key(self, private):
        self.key = Ed25519PrivateKey.from_private_bytes(unb64(private))

    def _apply_tokens(self, tokens):
        self.tokens = tokens

    def _apply_start(self, cursor, stream_gen):
        self.renumber = self.renumber or self.stream_gen not in (0, stream_gen)
        self.cursor, self.stream_gen = cursor, stream_gen

    def _apply_place(self, inbox_seq, entry):
        self.cursor = inbox_seq
        self.inbox.append((inbox_seq, pb.InboxEntry.FromString(unb64(entry))))

    def _apply_bind(self, client_seq, payload):
        self.undecided[client_seq] = unb64(payload)
        self.next_seq = client_seq + 1

    def _apply_decided(self, up_to, refused):
        for client_seq in [seq for seq in self.undecided if seq <= up_to]:
            del self.undecided[client_seq]
        self.refused.update({int(seq): code for seq, code in refused.items()})

    def _apply_renumber(self, next_seq):
        old, self.undecided = self.undecided.values(), {}
        self.next_seq, self.renumber = next_seq, False
        for send in map(pb.Send.FromString, old):
            send.client_seq = self.next_seq
            self.undecided[self.next_seq] = send.SerializeToString()
            self.next_seq += 1

    def _apply_read(self, account, clock):
        self.reads[account] = max(clock, self.reads.get(account, 0))

    def _apply_marks(self, marks, version):
        for account, mark in marks.items():
            kept = self.marks.get(account, [0, 0, 0])
            self.marks[account] = [max(pair) for pair in zip(kept, mark)]
            if self.reads.get(account, 0) <= self.marks[account][0]:
                self.reads.pop(account, None)
        self.version = version or self.version
