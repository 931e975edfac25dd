"""As much of protobuf's encoding as the messages of secure aggregation use."""


def fields(message):
    """Field number to the list of its values: numbers, or bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            assert tag & 7 == 2, "only numbers and bytes are used"
            size = varint()
            value = message[at:at + size]
            assert len(value) == size
            at += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def one(message, number, default=b""):
    values = message.get(number, [default])
    assert len(values) == 1
    return values[0]


def number(message, field):
    return one(message, field, 0)


def numbers(message, field):
    """A packed list."""
    packed, values, value, shift = one(message, field), [], 0, 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    assert values == sorted(set(values))
    return values


def pieces(data, size):
    assert len(data) % size == 0
    return [data[i:i + size] for i in range(0, len(data), size)]
