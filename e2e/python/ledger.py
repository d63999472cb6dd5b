"""Two people write to each other with `iris_client`, and a ledger of it.

Their connections are cut in the middle of traffic, at any byte. Each of them loses what it has in
memory once and starts again from its file. At the end every acknowledged message must have been
delivered exactly once and in order, own copies too; the writers must have the receipts; pages of
history, also those of a device that came later, must be what was received.

Prints one JSON object. Fails on any violation, on a run without traffic, and after 60 seconds.
"""

import argparse
import json
import os
import random
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time

from disk import Disk
from iris_client import Client
from wire import Violation

# The whole run, and what of it may pass until all is delivered and read.
RUN_S = 60
TRAFFIC_S = 45
SOON_S = 10
# Sends that a person has without an answer.
UNDECIDED_MAX = 24
PASSWORD = "a long password"


def check(good, what):
    if not good:
        raise Violation(what)


class Relay:
    """The network of one person. A fuse cuts the connection after so many more bytes, in the middle
    of whatever that is; what is behind them never arrives."""

    def __init__(self, server):
        host, port = server.rsplit(":", 1)
        self.address = (host, int(port))
        self.fuses, self.cuts = {"up": None, "down": None}, 0

    def dial(self):
        near, far = socket.socketpair()
        server = socket.create_connection(self.address, SOON_S)
        for way in ((far, server, "up"), (server, far, "down")):
            threading.Thread(target=self._carry, args=way, daemon=True).start()
        return near

    def is_whole(self):
        return not any(self.fuses.values())

    def _carry(self, source, sink, way):
        try:
            while data := source.recv(4096):
                fuse = self.fuses[way]
                if fuse is not None and fuse <= len(data):
                    sink.sendall(data[:fuse])
                    self.fuses[way] = None
                    self.cuts += 1
                    break
                if fuse is not None:
                    self.fuses[way] = fuse - len(data)
                sink.sendall(data)
        except OSError:
            pass  # The other direction ended it.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Person(threading.Thread):
    """Writes, reads, and meets with accidents at places of its inbox that are drawn beforehand."""

    def __init__(self, options, name, until):
        super().__init__(name=name, daemon=True)
        self.options, self.until, self.began = options, until, time.monotonic()
        self.path = os.path.join(options.dir, f"{name}.jsonl")
        self.handle = f"{name}-{secrets.token_hex(6)}"
        self.relay = Relay(options.server)
        self.client = self.start_client()
        self.client.register(self.handle, PASSWORD)
        self.account = self.client.account
        self.peer, self.done, self.failure = None, False, None
        # What was written: number, name, body. It stands for the person's own memory.
        self.written, self.acked = [], 0
        self.kills, self.places_lost, self.counts = 0, 0, {}
        accidents = [("up", "down")[n % 2] for n in range(options.cuts)]
        accidents.insert(options.cuts // 2, "kill")
        busy = range(1, options.messages * 3 // 2)
        self.accidents = list(zip(sorted(random.sample(busy, len(accidents))), accidents))

    def start_client(self):
        return Client(self.options.server, self.options.ca, self.path, self.relay.dial)

    def run(self):
        try:
            while not (self.done and self.peer.done):
                check(not self.peer.failure, "the other one failed")
                check(time.monotonic() < self.until, f"not done in time: {self.state()}")
                self.turn()
            self.client.cut()
            self.tally()
        except Exception as failure:  # It is told by the main thread.
            self.failure = f"{self.name}: {type(failure).__name__}: {failure}"

    def turn(self):
        disk = self.client.disk
        share = (time.monotonic() - self.began) / self.options.seconds
        due = int(min(1, share) * self.options.messages)
        for n in range(len(self.written), min(due, len(self.written) + 4)):
            if len(disk.undecided) < UNDECIDED_MAX:
                body = f"{self.name} {n} ".encode() + secrets.token_bytes(24)
                self.written.append((*self.client.send(self.peer.account, body), body))
        is_due = self.accidents and disk.cursor >= self.accidents[0][0]
        if is_due and self.client.link is not None and self.relay.is_whole():
            self.meet_with(self.accidents.pop(0)[1])
        self.client.step()
        self.acked = max(self.acked, disk.next_seq - 1 - len(disk.undecided))
        self.read()
        self.done = self.done or self.is_done()

    def meet_with(self, accident):
        if accident == "kill":
            self.forget()
        else:
            self.relay.fuses[accident] = random.randint(1, 1000)

    def forget(self):
        """Loses what is in memory after something came, before it is on the disk."""
        client, before = self.client, self.client.disk.cursor
        until = time.monotonic() + SOON_S
        try:
            client.flush()
            while client.disk.cursor == before and time.monotonic() < until:
                client.receive(0.1)
        except OSError:
            pass  # It loses its connection as well.
        client.cut()
        self.tally()
        self.client = self.start_client()
        self.client.refresh()
        self.kills += 1
        self.places_lost += client.disk.cursor - self.client.disk.cursor

    def tally(self):
        for what, count in self.client.counts.items():
            self.counts[what] = self.counts.get(what, 0) + count

    def read(self):
        """Reads what the other one wrote, now and then and at the end."""
        disk, peer = self.client.disk, self.peer.account
        heard = [entry.incoming.clock for _, entry in disk.inbox if entry.HasField("incoming")]
        if heard and (len(heard) % 10 == 0 or len(heard) == self.options.messages):
            if heard[-1] > max(disk.reads.get(peer.hex(), 0), disk.marks.get(peer.hex(), [0])[0]):
                self.client.read(peer, heard[-1])

    def is_done(self):
        """All is sent, received and read by both, and this device was told so."""
        disk, messages = self.client.disk, self.options.messages
        if len(self.written) < messages or disk.undecided or len(disk.inbox) < 2 * messages:
            return False
        sent = [entry.sent.clock for _, entry in disk.inbox if entry.HasField("sent")]
        own_read, delivered, read = disk.marks.get(self.peer.account.hex(), [0, 0, 0])
        return bool(sent) and min(delivered, read) >= sent[-1] and not disk.reads and own_read > 0

    def state(self):
        disk = self.client.disk
        facts = {"written": len(self.written), "undecided": len(disk.undecided)}
        return {**facts, "received": disk.cursor, "marks": disk.marks, "reads": disk.reads}


def clock(entry):
    return getattr(entry, entry.WhichOneof("kind")).clock


def conversation(inbox, me):
    """Names in the order of a conversation."""
    lines = []
    for _, entry in inbox:
        heard = entry.HasField("incoming")
        author = entry.incoming.sender if heard else me
        lines.append((clock(entry), author, (entry.incoming if heard else entry.sent).msg_id))
    return sorted(lines)


def judge(person):
    """Compares what is on the disk of a person with what both wrote."""
    peer, messages = person.peer, person.options.messages
    disk = Disk(person.path)
    places = [place for place, _ in disk.inbox]
    check(places == list(range(1, 2 * messages + 1)), f"{person.name}: places {places}")
    check(not disk.refused, f"{person.name}: refused {disk.refused}")
    check(not disk.undecided, f"{person.name}: undecided {list(disk.undecided)}")
    heard = [entry.incoming for _, entry in disk.inbox if entry.HasField("incoming")]
    for message in heard:
        check(message.sender == peer.account, f"{person.name}: a message of somebody else")
    got = [(message.msg_id, message.body) for message in heard]
    check(got == [line[1:] for line in peer.written], f"{person.name}: not what {peer.name} wrote")
    own = [entry.sent for _, entry in disk.inbox if entry.HasField("sent")]
    got = [(copy.client_seq, copy.msg_id) for copy in own]
    check(got == [line[:2] for line in person.written], f"{person.name}: not the own copies")
    for copy in own:
        check(copy.to.account == peer.account and not copy.body, f"{person.name}: an own copy")
    mark = disk.marks[peer.account.hex()]
    check(mark[0] == heard[-1].clock, f"{person.name}: read up to {mark[0]}")
    check(mark[1:] == [own[-1].clock] * 2, f"{person.name}: receipts {mark[1:]}")
    return conversation(disk.inbox, person.account)


def judge_history(person, client, bodies):
    """Compares all pages of a conversation with what was received; with `bodies`, own ones too."""
    inbox = Disk(person.path).inbox
    wanted = sorted(inbox, key=lambda line: (clock(line[1]), line[0]), reverse=True)
    texts = {name: body for _, name, body in person.written}
    for _, entry in wanted:
        if bodies and entry.HasField("sent"):
            entry.sent.body = texts[entry.sent.msg_id]
    got, before, pages = [], None, 0
    while pages == 0 or before is not None:
        entries, before = client.fetch(person.peer.account, before, limit=random.randint(5, 60))
        got, pages = got + entries, pages + 1
    check(got == wanted, f"{person.name}: pages of {len(got)} entries for {len(wanted)}")
    return pages


def judge_later_device(person):
    """A device that logs in now begins at the newest place, gets all marks, sees all of history."""
    options, wanted = person.options, Disk(person.path).marks
    path = os.path.join(options.dir, f"{person.name}-later.jsonl")
    client = Client(options.server, options.ca, path)
    client.login(person.handle, PASSWORD)
    pages = judge_history(person, client, bodies=True)
    until = time.monotonic() + SOON_S
    while client.disk.marks != wanted and time.monotonic() < until:
        client.step()
    check(client.disk.marks == wanted, f"{person.name}: marks {client.disk.marks}")
    check(client.disk.cursor == 2 * options.messages, f"begins at {client.disk.cursor}")
    check(not client.disk.inbox, "a later device gets what was before it")
    client.cut()
    return pages


def run(options):
    began = time.monotonic()
    people = ann, ben = [Person(options, name, began + TRAFFIC_S) for name in ("ann", "ben")]
    ann.peer, ben.peer = ben, ann
    for person in people:
        person.start()
    for person in people:
        person.join()
    failures = [person.failure for person in people if person.failure]
    check(not failures, "; ".join(failures))
    check(judge(ann) == judge(ben), "two orders of one conversation")
    pages = 0
    for person in people:
        client = person.start_client()
        client.ping()
        pages += judge_history(person, client, bodies=False) + judge_later_device(person)
        client.cut()
    total = lambda of: of(ann) + of(ben)
    result = {
        "acked": total(lambda person: person.acked),
        "cuts": total(lambda person: person.relay.cuts),
        "kills": total(lambda person: person.kills),
        "places_lost": total(lambda person: person.places_lost),
        "pages": pages,
        "seconds": round(time.monotonic() - began, 1),
    }
    result.update({what: ann.counts[what] + ben.counts[what] for what in ann.counts})
    check(result["acked"] == 2 * options.messages > 0, f"no traffic: {result}")
    accidents = (result["cuts"], result["kills"])
    check(accidents == (2 * options.cuts, 2), f"other accidents than planned: {result}")
    return result


def end_it(*_):
    raise TimeoutError(f"{RUN_S} seconds are over")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", required=True, metavar="FILE")
    parser.add_argument("--messages", type=int, default=400, help="of each person")
    parser.add_argument("--seconds", type=float, default=3, help="that they take to write")
    parser.add_argument("--cuts", type=int, default=4, help="of each person's connection")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, end_it)
    signal.alarm(RUN_S)
    with tempfile.TemporaryDirectory() as options.dir:
        try:
            print(json.dumps({"ok": True, **run(options)}))
        except Exception as failure:
            print(json.dumps({"ok": False, "violation": f"{type(failure).__name__}: {failure}"}))
            sys.exit(1)


main()
