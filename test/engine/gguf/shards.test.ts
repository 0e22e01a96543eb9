import { describe, expect, test } from "vitest";
import { GgufError, type GgufFile, openGguf } from "../../../src/engine/gguf/gguf.ts";
import { type ByteSource, bytesSource } from "../../../src/engine/gguf/source.ts";
import { UserError } from "../../../src/errors.ts";
import { type GgufContents, type MetadataEntry, writeGguf } from "../../support/gguf-writer.ts";
import { expectFault } from "./open.ts";

const path = (number: number): string => `dir/model-0000${number}-of-00003.gguf`;

interface Split {
  readonly no: number;
  readonly count?: number;
  readonly total?: number;
  readonly tensor?: string;
}

function shard({ no, count = 3, total = 3, tensor = `t${no}` }: Split): GgufContents {
  const metadata: MetadataEntry[] = [
    ["split.no", "u16", no],
    ["split.count", "u16", count],
    ["split.tensors.count", "i32", total],
    ["shard.only", "string", `of ${no}`],
  ];
  const data = new Uint8Array(16).fill(no + 1);
  return { metadata, tensors: [{ name: tensor, shape: [4], type: "F32", data }] };
}

/** A folder of files in memory that knows which of them are open. */
class Folder {
  readonly files = new Map<string, Uint8Array>();
  readonly open = new Set<string>();
  readonly opened: string[] = [];
  /** The read, counted from 1 over all files, that fails. */
  failAtRead = Number.POSITIVE_INFINITY;
  #reads = 0;

  constructor(shards: readonly Split[] = [{ no: 0 }, { no: 1 }, { no: 2 }]) {
    for (const [i, split] of shards.entries()) this.files.set(path(i + 1), writeGguf(shard(split)));
  }

  readonly openFile = async (name: string): Promise<ByteSource> => {
    const bytes = this.files.get(name);
    if (bytes === undefined) throw new UserError(`${name}: no such file`);
    this.open.add(name);
    this.opened.push(name);
    const source = bytesSource(name, bytes);
    return {
      ...source,
      read: async (offset, into) => {
        if (++this.#reads >= this.failAtRead) throw new UserError(`${name}: the disk is gone`);
        await source.read(offset, into);
      },
      close: async () => void this.open.delete(name),
    };
  };

  load(name: string = path(1)): Promise<GgufFile> {
    return openGguf(name, this.openFile);
  }
}

test("opens all shards from the first, and closes them together", async () => {
  const folder = new Folder();
  const file = await folder.load();
  expect([...file.tensors.keys()]).toEqual(["t0", "t1", "t2"]);
  expect(file.metadata.get("shard.only")).toBe("of 0");
  expect(file.bytes).toBe([...folder.files.values()].reduce((sum, { length }) => sum + length, 0));
  for (const [i, tensor] of [...file.tensors.values()].entries()) {
    const data = new Uint8Array(tensor.bytes);
    await tensor.source.read(tensor.offset, data);
    expect(data).toEqual(new Uint8Array(16).fill(i + 1));
  }
  expect(folder.open.size).toBe(3);
  await file.close();
  expect(folder.open.size).toBe(0);
});

test("a file of one shard needs no name", async () => {
  const folder = new Folder();
  folder.files.set("one.gguf", writeGguf(shard({ no: 0, count: 1, total: 1 })));
  expect((await folder.load("one.gguf")).tensors.size).toBe(1);
});

describe("refuses, and leaves nothing open:", () => {
  async function refuses(folder: Folder, expected: RegExp, found: RegExp, name?: string) {
    const error = await expectFault(folder.load(name), { expected, found });
    expect(folder.opened.length).toBeGreaterThan(0);
    expect(folder.open.size).toBe(0);
    return error;
  }

  test("a missing shard, by name", async () => {
    const folder = new Folder();
    folder.files.delete(path(2));
    const error = await refuses(folder, /shard 2 of 3/, /no such file/);
    expect(error.message).toContain(path(2));
    expect(error.cause).toBeInstanceOf(UserError);
  });
  test("a later shard to start from, and names the first", async () => {
    const error = await refuses(new Folder(), /the first of 3/, /shard 2/, path(2));
    expect(error.message).toContain(`Open ${path(1)}`);
  });
  test("shards in another order", async () => {
    const folder = new Folder([{ no: 0 }, { no: 2 }, { no: 1 }]);
    const error = await refuses(folder, /shard 2 of 3/, /shard 3 of 3/);
    expect(error.file).toBe(path(2));
  });
  test("a later shard under the first one's name", async () => {
    await refuses(new Folder([{ no: 1 }, { no: 1 }, { no: 2 }]), /shard 1 of 3/, /shard 2 of 3/);
  });
  test("a shard of a model with another number of shards", async () => {
    const folder = new Folder([{ no: 0 }, { no: 1, count: 4 }, { no: 2 }]);
    await refuses(folder, /shard 2 of 3/, /shard 2 of 4/);
  });
  test("a shard that does not say which it is", async () => {
    const folder = new Folder();
    folder.files.set(path(3), writeGguf({}));
    await refuses(folder, /split\.no/, /no such key/);
  });
  test("T12 a tensor in two shards", async () => {
    const folder = new Folder([{ no: 0 }, { no: 1 }, { no: 2, tensor: "t0" }]);
    const error = await refuses(folder, /one shard only/, /"t0", which is in .*00001-of-00003/);
    expect(error.file).toBe(path(3));
  });
  test.each([2, 4])("T12 %i tensors announced, 3 there", async (total) => {
    const folder = new Folder([{ no: 0, total }, { no: 1 }, { no: 2 }]);
    await refuses(folder, RegExp(`${total} tensors in 3 shards`), /^3$/);
  });
  test("a name that does not lead to the other shards", async () => {
    const folder = new Folder();
    folder.files.set("renamed.gguf", folder.files.get(path(1))!);
    await refuses(folder, /-00001-of-00003\.gguf/, /another/, "renamed.gguf");
  });
  test("a damaged later shard, which its own error names", async () => {
    const folder = new Folder();
    folder.files.set(path(3), folder.files.get(path(3))!.subarray(0, 50));
    const error = await folder.load().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GgufError);
    expect(error).toMatchObject({ file: path(3), offset: expect.any(Number) });
    expect(folder.open.size).toBe(0);
  });
  test.each([1, 2, 3])("a disk that fails at read %i, in its own words", async (read) => {
    const folder = new Folder();
    folder.failAtRead = read;
    await expect(folder.load()).rejects.toThrow(`${path(read)}: the disk is gone`);
    expect(folder.open.size).toBe(0);
  });
});
