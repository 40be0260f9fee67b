#!/usr/bin/env python3
"""Opens a sealed recording without any of Ringfence's code.

Needs `pip install tink` and nothing else. Follows docs/recording-format.md step by step and is meant to be read beside
it: an auditor can hear a recording with the root key, the key directory and this file.

    read_with_tink.py ROOT_KEY_FILE KEY_DIRECTORY RECORDING > recording.wav

The facts of the seal go to standard error as JSON.
"""

import base64
import hashlib
import hmac
import io
import json
import pathlib
import sys

import tink
from tink import aead, cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, aes_gcm_pb2, common_pb2, tink_pb2


def keyset(type_name, key):
    """A Tink key set that holds one raw key."""
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink." + type_name,
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    made = tink_pb2.Keyset(primary_key_id=1)
    made.key.add(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    return cleartext_keyset_handle.read(tink.BinaryKeysetReader(made.SerializeToString()))


def open_box(key, box, associated_data):
    """Nonce (12 bytes), AES-256-GCM ciphertext, tag (16 bytes)."""
    handle = keyset("AesGcmKey", aes_gcm_pb2.AesGcmKey(version=0, key_value=key))
    return handle.primitive(aead.Aead).decrypt(box, associated_data)


def hkdf_32(key, salt, info):
    """HKDF-SHA-256 (RFC 5869) for 32 bytes: one block."""
    extracted = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def checksum(data, what):
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        sys.exit(f"{what} is damaged: its checksum does not fit")


def root_key(path):
    text = pathlib.Path(path).read_text().strip()
    prefix, _, encoded = text.partition(":")
    if prefix != "ringfence-root-key-1":
        sys.exit(f"{path} is no root key")
    return base64.b64decode(encoded, validate=True)


def month_key(keys, root, month, key_id):
    found = sorted(pathlib.Path(keys).rglob(f"{month // 100:04}-{month % 100:02}.{key_id.hex()}.?.key"))
    if not found:
        sys.exit(f"the month key {key_id.hex()} is not in {keys}")
    data = found[0].read_bytes()
    checksum(data, found[0])
    if data[:10] != b"RNGFMKEY\x00\x01" or data[16:32] != key_id:
        sys.exit(f"{found[0]} is not that month key")
    return open_box(root, data[128:188], data[:128])


def open_recording(root_path, keys, path):
    data = pathlib.Path(path).read_bytes()
    page, stream = data[:4096], data[4096:]
    checksum(page, path)
    if page[:12] != b"RNGFENCE\x00\x01\x02\x02":
        sys.exit(f"{path} is no sealed recording of version 1")
    immutable = page[:256]
    month = int.from_bytes(page[272:276], "big")
    wrapping = month_key(keys, root_key(root_path), month, page[256:272])
    data_key = open_box(wrapping, page[288:348], immutable)
    box_len = int.from_bytes(page[512:516], "big")
    facts_key = hkdf_32(data_key, b"", b"ringfence page facts v1")
    facts = json.loads(open_box(facts_key, page[516 : 516 + box_len], page[:516]))
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        key_value=data_key,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=4096, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
        ),
    )
    primitive = keyset("AesGcmHkdfStreamingKey", key).primitive(streaming_aead.StreamingAead)
    with primitive.new_decrypting_stream(io.BytesIO(stream), immutable) as plain:
        wav = plain.read()
    if len(wav) != facts["wav_bytes"] or hashlib.sha256(wav).hexdigest() != facts["wav_sha256"]:
        sys.exit(f"{path}: the audio is not the one that was sealed")
    return facts, wav


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    aead.register()
    streaming_aead.register()
    sealed_facts, audio = open_recording(*sys.argv[1:])
    print(json.dumps(sealed_facts, indent=2), file=sys.stderr)
    sys.stdout.buffer.write(audio)
