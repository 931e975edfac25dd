#!/usr/bin/env python3
"""Computes whole sessions of secure aggregation again, from the secrets of the sites and nothing else.

A second implementation of the protocol, written from its description: keys, shares, masks, masked vectors and sums are
derived here and compared with every message and vector that the first one left. It is slow and plain on purpose.

Usage: oracle.py WRITER     WRITER: the program that writes a transcript to the file it is given.
"""

import functools
import hashlib
import pathlib
import subprocess
import sys
import tempfile

try:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
except ImportError:
    print("the package 'cryptography' is not installed")
    sys.exit(77)

from oracle_wire import fields, number, numbers, one, pieces

PRIME = (1 << 61) - 1
LIMB_BITS = 52
SHARE_BYTES = 40
SEAL_BYTES = 96


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def big(value, size):
    return value.to_bytes(size, "big")


def opened(kind, message, key):
    """The body of a signed message, its signature verified."""
    outer = fields(message)
    assert sorted(outer) == [1, 2]
    signed = b" " * 64 + b"fl-secagg/v1 " + kind.encode() + b"\0" + one(outer, 1)
    Ed25519PublicKey.from_public_bytes(key).verify(one(outer, 2), signed)
    return fields(one(outer, 1))


@functools.cache
def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def agreed(secret, public, session, info):
    shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(hashes.SHA256(), 32, session, info).derive(shared)


def pair_info(label, numbers_, i, key_i, j, key_j):
    low, high = ((key_i, key_j) if i < j else (key_j, key_i))
    return label + numbers_ + low + high


def expand(key, info, size):
    return HKDFExpand(hashes.SHA256(), size, info).derive(key)


def keystream(key, size):
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(bytes(size))


@functools.cache
def weights_at_zero(xs):
    weights = []
    for x in xs:
        above = below = 1
        for other in xs:
            if other != x:
                above, below = above * other % PRIME, below * (other - x) % PRIME
        weights.append(above * pow(below, PRIME - 2, PRIME) % PRIME)
    return weights


def combine(points):
    """The 32 bytes behind shares {x: limbs}."""
    weights, secret = weights_at_zero(tuple(points)), 0
    for limb in range(5):
        value = sum(limbs[limb] * weight for limbs, weight in zip(points.values(), weights)) % PRIME
        assert value < 1 << LIMB_BITS
        secret |= value << (LIMB_BITS * limb)
    return secret.to_bytes(32, "little")


def limbs_of(share):
    limbs = [int.from_bytes(part, "little") for part in pieces(share, 8)]
    assert len(limbs) == 5 and all(limb < PRIME for limb in limbs)
    return limbs


class Ring:
    def __init__(self, sections):
        self.widths = [bits // 8 for bits, count in sections for _ in range(count)]
        self.size = sum(self.widths)

    def read(self, data):
        assert len(data) == self.size
        values, at = [], 0
        for width in self.widths:
            values.append(int.from_bytes(data[at:at + width], "little"))
            at += width
        return values

    def write(self, values):
        return b"".join((value % (1 << (8 * width))).to_bytes(width, "little")
                        for value, width in zip(values, self.widths))

    def total(self, terms):
        """The sum of (sign, bytes)."""
        sums = [0] * len(self.widths)
        for sign, data in terms:
            sums = [have + sign * value for have, value in zip(sums, self.read(data))]
        return self.write(sums)


class Session:
    def __init__(self):
        self.sections, self.sites, self.inputs, self.secrets, self.coordinator = [], {}, {}, {}, None
        self.masked, self.sums, self.messages, self.repeated = {}, {}, {}, {}

    def sent(self, kind, direction="from"):
        return {member: message for (k, d, member), message in self.messages.items()
                if k == kind and d == direction}

    def check(self):
        self.check_manifest()
        self.check_keys()
        self.check_shares()
        assert sorted(self.starts()) == sorted(self.sums) and self.sums
        for round_, start in sorted(self.starts().items()):
            self.check_round(round_, start)
        return f"{len(self.sites)} sites, {len(self.sums)} rounds, {len(self.messages)} messages"

    def check_manifest(self):
        message = self.messages["SessionManifest", "to", 0]
        manifest = opened("SessionManifest", message, self.coordinator)
        assert number(manifest, 1) == 1
        self.mask_key_bytes = {1: 16, 2: 32}[number(manifest, 2)]
        self.manifest = sha256(message)
        members = [fields(member) for member in manifest[7]]
        assert len(members) == len(self.sites)
        assert [one(member, 1) for member in members] == sorted(one(member, 1) for member in members)
        n, colluders, self.threshold = len(members), number(manifest, 9), number(manifest, 10)
        assert self.threshold == (n + colluders) // 2 + 1
        self.share_threshold, self.degree = self.threshold, None
        if 13 in manifest:
            graph = fields(one(manifest, 13))
            self.degree, self.share_threshold = number(graph, 1), number(graph, 2)
        self.rounds = number(manifest, 14)

    def check_keys(self):
        self.channel, self.mask, self.seeds, self.drawn = {}, {}, {}, {}
        messages = self.sent("AdvertiseKeys")
        for member, message in messages.items():
            body = opened("AdvertiseKeys", message, self.sites[member])
            secrets = self.secrets[member]
            self.channel[member], self.mask[member] = secrets[0], secrets[1:1 + self.rounds]
            self.seeds[member] = secrets[1 + self.rounds:1 + 2 * self.rounds]
            assert one(body, 1) == self.manifest and number(body, 2) == member
            assert one(body, 3) == public_of(self.channel[member])
            assert pieces(one(body, 4), 32) == [public_of(key) for key in self.mask[member]]
            self.drawn[member] = numbers(body, 5)
            assert len(self.drawn[member]) == (self.degree or 0) and member not in self.drawn[member]
        everybody = sorted(messages)
        drawn = self.drawn if self.degree else {member: everybody for member in everybody}
        self.holders = {d: [h for h in drawn[d] if h != d and h in messages] for d in everybody}
        self.neighbors = {m: set(self.holders[m]) | {d for d in everybody if m in self.holders[d]} for m in everybody}
        directory = [messages[member] for member in sorted(messages)]
        for message in self.sent("KeyDirectory", "to").values():
            assert fields(message)[1] == directory
        self.id = sha256(b"fl-secagg/v1/session", self.manifest,
                         sha256(*[sha256(message) for message in directory]))

    def channel_key(self, sender, receiver):
        info = pair_info(b"fl-secagg/v1 chan", big(sender, 4) + big(receiver, 4), sender,
                         public_of(self.channel[sender]), receiver, public_of(self.channel[receiver]))
        # With the receiver's secret: that the sender's gives the same is what makes the seal open.
        return agreed(self.channel[receiver], public_of(self.channel[sender]), self.id, info)

    def check_shares(self):
        self.shares, sealed_for = {}, {}  # (round, dealer, holder): seed share, key share
        dealers = self.sent("ShareKeys")
        for dealer, message in dealers.items():
            body = opened("ShareKeys", message, self.sites[dealer])
            assert one(body, 1) == self.id and number(body, 2) == dealer
            assert numbers(body, 4) == self.holders[dealer]
            assert pieces(one(body, 3), 32) == [
                sha256(b"b", self.id, big(dealer, 4), big(r + 1, 8), self.seeds[dealer][r]) for r in range(self.rounds)]
            rows = pieces(one(body, 5), SEAL_BYTES * self.rounds)
            for holder, row in zip(self.holders[dealer], rows, strict=True):
                sealed_for[dealer, holder] = row
                key = AESGCM(self.channel_key(dealer, holder))
                for r, seal in enumerate(pieces(row, SEAL_BYTES), 1):
                    bound = self.id + big(r, 8) + big(dealer, 4) + big(holder, 4) + big(1, 4)
                    plain = key.decrypt(big(r, 8) + big(1, 4), seal, bound)
                    self.shares[r, dealer, holder] = plain[:SHARE_BYTES], plain[SHARE_BYTES:]
            for r in range(1, self.rounds + 1):
                points = {h + 1: self.shares[r, dealer, h] for h in self.holders[dealer]}
                if self.degree is not None or len(points) >= self.share_threshold:
                    some = sorted(points)[-self.share_threshold:]
                    for kind, secret in ((0, self.seeds[dealer][r - 1]), (1, self.mask[dealer][r - 1])):
                        assert combine({x: limbs_of(points[x][kind]) for x in some}) == secret
        for holder, message in self.sent("ShareDelivery", "to").items():
            body = fields(message)
            expected = [d for d in sorted(dealers) if holder in self.holders[d]]
            assert one(body, 1) == self.id and number(body, 2) == holder and numbers(body, 3) == expected
            assert one(body, 4) == b"".join(sealed_for[d, holder] for d in expected)
        for holder, message in self.sent("ShareKeysAck").items():
            body = opened("ShareKeysAck", message, self.sites[holder])
            assert one(body, 1) == self.id and number(body, 2) == holder
            assert numbers(body, 3) == [d for d in sorted(dealers) if holder in self.holders[d]]

    def starts(self):
        starts = {}
        for (kind, _, _), messages in self.repeated.items():
            if kind == "RoundStart":
                for message in messages:
                    body = opened(kind, message, self.coordinator)
                    starts.setdefault(number(body, 2), body)
        return starts

    def of_round(self, kind, key_of, round_):
        """Member to body, of those signed messages of this kind that are about this round."""
        found = {}
        for (k, _, member), messages in self.repeated.items():
            if k == kind:
                for message in messages:
                    body = opened(kind, message, key_of(member))
                    if number(body, 2) == round_:
                        assert one(body, 1) == self.id
                        found[member] = body
        return found

    def masks(self, round_, context, member, participants):
        """Signs and keystreams of one member's vector: its own mask first."""
        label = b"fl-secagg/v1 self" + context
        terms = [(1, expand(self.seeds[member][round_ - 1], label, self.mask_key_bytes))]
        for peer in participants:
            if peer == member or peer not in self.neighbors[member]:
                continue
            own, other = self.mask[member][round_ - 1], public_of(self.mask[peer][round_ - 1])
            low, high = min(member, peer), max(member, peer)
            info = pair_info(b"fl-secagg/v1 pair", big(round_, 8) + big(low, 4) + big(high, 4), member,
                             public_of(own), peer, other)
            key = agreed(own, other, self.id, info)
            terms.append((1 if peer < member else -1,
                          expand(key, b"fl-secagg/v1 mask" + context, self.mask_key_bytes)))
        return [(sign, keystream(key, self.ring.size)) for sign, key in terms]

    def check_round(self, round_, start):
        self.ring = Ring(self.sections)
        participants = numbers(start, 3)
        announced = sha256(b"fl-secagg/v1/participants", *[big(member, 4) for member in participants])
        context = sha256(b"fl-secagg/v1/ctx", self.id, big(round_, 8), one(start, 4), one(start, 5), one(start, 6),
                         announced)
        assert number(start, 7) == self.ring.size
        own = lambda member: self.sites[member]
        inputs = self.of_round("MaskedInput", own, round_)
        for member, body in inputs.items():
            assert number(body, 3) == member and one(body, 4) == context and number(body, 5) == self.ring.size
            vector = self.ring.total([(1, self.inputs[member])] + self.masks(round_, context, member, participants))
            assert one(body, 6) == sha256(vector)
            assert self.masked.get((round_, member), vector) == vector
        survivors = sorted(member for r, member in self.masked if r == round_)
        for body in self.of_round("Survivors", lambda _: self.coordinator, round_).values():
            assert numbers(body, 3) == survivors
        included = sha256(b"fl-secagg/v1/participants", *[big(member, 4) for member in survivors])
        signed = self.of_round("ConsistencySignature", own, round_)
        assert len(signed) >= self.threshold and set(signed) <= set(survivors)
        for member, body in signed.items():
            assert number(body, 3) == member and one(body, 4) == context
            assert one(body, 5) == announced and one(body, 6) == included
        self.check_unmasking(round_, context, participants, survivors)
        assert self.sums[round_] == self.ring.total([(1, self.inputs[member]) for member in survivors])
        for body in self.of_round("RoundResult", lambda _: self.coordinator, round_).values():
            assert one(body, 3) == included and number(body, 4) == len(survivors)
            assert one(body, 5) == sha256(self.sums[round_])
            assert pieces(one(body, 6), 32) == [sha256(self.masked[round_, member]) for member in survivors]

    def check_unmasking(self, round_, context, participants, survivors):
        given = {}  # (dealer, kind): {x: limbs}
        for member, body in self.of_round("Unmasking", lambda member: self.sites[member], round_).items():
            assert number(body, 3) == member and one(body, 4) == context
            assert set(numbers(body, 5)) <= set(survivors)
            assert set(numbers(body, 7)) <= set(participants) - set(survivors)
            for kind, dealers, shares in ((0, 5, 6), (1, 7, 8)):
                for dealer, share in zip(numbers(body, dealers), pieces(one(body, shares), SHARE_BYTES), strict=True):
                    if dealer != member:
                        assert share == self.shares[round_, dealer, member][kind]
                    given.setdefault((dealer, kind), {})[member + 1] = limbs_of(share)
        terms = [(1, self.masked[round_, member]) for member in survivors]
        for dealer in participants:
            kind = 0 if dealer in survivors else 1
            points = given[dealer, kind]
            assert (dealer, 1 - kind) not in given and len(points) >= self.share_threshold
            secret = combine({x: points[x] for x in sorted(points)[:self.share_threshold]})
            if kind == 0:
                assert secret == self.seeds[dealer][round_ - 1]
                key = expand(secret, b"fl-secagg/v1 self" + context, self.mask_key_bytes)
                terms.append((-1, keystream(key, self.ring.size)))
            else:
                assert secret == self.mask[dealer][round_ - 1]
                # What this member would have put on its own vector is on the survivors', with the other sign.
                peers = [p for p in self.neighbors[dealer] if p in survivors]
                terms += [(sign, stream) for sign, stream in self.masks(round_, context, dealer, peers)[1:]]
        assert self.ring.total(terms) == self.sums[round_]


def sessions(path):
    session = Session()
    for line in path.read_text().splitlines():
        word, *rest = line.split(" ")
        if word == "end":
            yield session
            session = Session()
        elif word == "section":
            session.sections.append((int(rest[0]), int(rest[1])))
        elif word == "coordinator":
            session.coordinator = bytes.fromhex(rest[0])
        elif word == "secret":
            session.secrets.setdefault(int(rest[0]), []).append(bytes.fromhex(rest[1]))
        elif word in ("site", "input"):
            getattr(session, word + "s")[int(rest[0])] = bytes.fromhex(rest[1])
        elif word == "masked":
            session.masked[int(rest[0]), int(rest[1])] = bytes.fromhex(rest[2])
        elif word == "sum":
            session.sums[int(rest[0])] = bytes.fromhex(rest[1])
        else:
            assert word == "message", line
            key, message = (rest[0], rest[1], int(rest[2])), bytes.fromhex(rest[3])
            session.messages.setdefault(key, message)
            session.repeated.setdefault(key, []).append(message)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "transcript"
        subprocess.run([sys.argv[1], str(path)], check=True)
        count = 0
        for session in sessions(path):
            print(session.check())
            count += 1
        assert count == 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
