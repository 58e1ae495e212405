/** Bytes that come in pieces, kept until they are complete. */
export interface ByteBuffer {
  length: () => number;
  append: (bytes: Buffer) => void;
  /** All bytes, without a copy: valid until the next call of another method. */
  bytes: () => Buffer;
  /** Removes bytes from the beginning. */
  drop: (count: number) => void;
  clear: () => void;
}

const FIRST_CAPACITY = 16 * 1024;

/**
 * A buffer that copies what it is given and doubles when it is full. Its size follows the number of
 * bytes alone; a list of pieces would need many times as much where each piece is one byte.
 */
export function createByteBuffer(): ByteBuffer {
  let buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  let length = 0;
  return {
    length: () => length,
    append(bytes) {
      const needed = length + bytes.length;
      if (needed > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * buffer.length));
        buffer.copy(larger, 0, 0, length);
        buffer = larger;
      }
      bytes.copy(buffer, length);
      length = needed;
    },
    bytes: () => buffer.subarray(0, length),
    drop(count) {
      buffer.copyWithin(0, count, length);
      length -= count;
    },
    clear() {
      length = 0;
    },
  };
}
