import { UserError } from "../../errors.ts";

/**
 * Random access to the bytes of one file. It uses nothing of Node, so that a browser can implement
 * it with a Blob or range requests.
 */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /**
   * Fills `into` from byte `offset` on; rejects when the source ends or fails before it is full.
   */
  read(offset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** A source over bytes that are in memory already: for tests, and for small files in browsers. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset: number, into: Uint8Array): Promise<void> {
      const end = offset + into.length;
      if (offset < 0 || end > bytes.length) {
        throw new UserError(
          `${name}: cannot read bytes ${offset} to ${end}: it has ${bytes.length}`,
        );
      }
      into.set(bytes.subarray(offset, end));
    },
    async close(): Promise<void> {},
  };
}
