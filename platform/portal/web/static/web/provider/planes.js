// Codes to bit-planes: 64 rows a word, padded with zero rows to the public capacity; and their split into components.
//
// Row r is bit r % 64 of word r // 64, little-endian, which is bit r % 8 of byte r // 8. Per field come its bits,
// lowest first, and its present plane; the first plane of all says which rows are patients.

const BLOCK = 2 ** 22; // bytes of a key stream made at a time

/** Bytes of one plane. */
export function planeBytes(capacity) {
  return 8 * Math.ceil(capacity / 64);
}

/** The planes in the order of `names`, one after another. Raises RangeError if there are more patients than capacity. */
export function toPlanes(codes, names, capacity) {
  if (codes.patients > capacity) throw new RangeError("more patients than the capacity holds");
  const size = planeBytes(capacity);
  const planes = new Uint8Array(names.length * size);
  names.forEach(([name, part], row) => {
    const plane = planes.subarray(row * size, (row + 1) * size);
    const column = codes.columns[name];
    for (let r = 0; r < codes.patients; r++) {
      const bit = part === "valid" ? 1 : part === "present" ? column.present[r] : (column.codes[r] >>> part) & 1;
      plane[r >> 3] |= bit << (r & 7);
    }
  });
  return planes;
}

/** XOR into `bytes` what a 32-byte seed stands for: AES-256-CTR with zero counter over zero bytes. */
export async function xorExpanded(seed, bytes, into = bytes) {
  const key = await crypto.subtle.importKey("raw", seed, "AES-CTR", false, ["encrypt"]);
  for (let start = 0; start < bytes.length; start += BLOCK) {
    const counter = new Uint8Array(16);
    new DataView(counter.buffer).setBigUint64(8, BigInt(start / 16));
    // Encrypting is the XOR itself.
    const piece = bytes.subarray(start, start + BLOCK);
    into.set(new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, key, piece)), start);
  }
  return into;
}

/** The array of `size` bytes that a seed stands for. */
export function expand(seed, size) {
  return xorExpanded(seed, new Uint8Array(size));
}

/** The explicit last component of planes whose other components are the expanded seeds. */
export async function splitPlanes(planes, seeds) {
  const last = planes.slice();
  for (const seed of seeds) await xorExpanded(seed, last);
  return last;
}
