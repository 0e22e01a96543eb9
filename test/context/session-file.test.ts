// Session files: what is written comes back, the bytes are those that the format describes (an independent writer in
// test/support), and no damaged or forged file does harm.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MadeBy, SavedSession } from "../../src/context/cache/saved-session.ts";
import {
  partsOf,
  SessionFile,
  SessionFileError,
  writeSession,
} from "../../src/context/cache/session-file.ts";
import { isVisible } from "../../src/context/positions/attention-policy.ts";
import { UserError } from "../../src/errors.ts";
import { CountingSource, forge, jsonOf, padded } from "../support/session-file.ts";
import { anyText } from "../support/texts.ts";

const { POSITIVE_INFINITY } = Number;

const madeBy: MadeBy = {
  fingerprint: "0123456789abcdef".repeat(4),
  model: "a model",
  policy: { name: "sinks:2+9", sinks: 2, window: 9 },
  keys: "rotated",
  kv: "f16",
  pageSize: 4,
  pageBytes: 24,
  groups: [
    { layers: [0, 2], window: POSITIVE_INFINITY },
    { layers: [1], window: 5 },
  ],
};

/** 21 tokens, 19 of them in pages: those of the sinks, and those from position 11 and 15 on. */
const session: SavedSession = {
  madeBy,
  ids: Uint32Array.from({ length: 21 }, (_, i) => i * 1000),
  length: 19,
  pages: [
    [0, 8, 12, 16],
    [0, 12, 16],
  ],
  chat: {
    messages: [
      { role: "user", content: 'Grüße, "東京" 🙂 \ud800 \u0000' },
      { role: "assistant", content: "" },
    ],
    spoken: { rendered: ["<user>Grüße", "<user>Grüße "], guard: "\ue000" },
  },
};

/** Different bytes in every part. */
function contentOf(session: SavedSession): Uint8Array[] {
  return partsOf(session).map(({ byteLength }, part) =>
    Uint8Array.from({ length: byteLength }, (_, i) => (part + 1) * 31 + i * 7 + (i >> 8)),
  );
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function fileOf(session: SavedSession, parts = contentOf(session)): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  await writeSession(session, each(parts), async (bytes) => {
    pieces.push(bytes.slice());
  });
  return Uint8Array.from(Buffer.concat(pieces));
}

async function readAll(source: CountingSource) {
  const file = await SessionFile.open(source);
  const parts = [];
  for await (const part of file.parts()) parts.push(part);
  return { session: file.session, parts };
}

/** What reading a file throws, or what it gives. Nothing is asked of the source beyond its size. */
async function outcomeOf(bytes: Uint8Array) {
  const source = new CountingSource(bytes);
  try {
    return await readAll(source);
  } catch (error) {
    return error;
  } finally {
    expect(source.largest).toBeLessThanOrEqual(source.size);
  }
}

async function expectRefused(bytes: Uint8Array, what: string, message = /./) {
  const outcome = await outcomeOf(bytes);
  expect(outcome, what).toBeInstanceOf(SessionFileError);
  expect((outcome as Error).message, what).toMatch(/^my\.session: .+[.]$/); // one line
  expect((outcome as Error).message, what).toMatch(message);
}

/** Sessions that hold what the next token sees, by `isVisible`, and some pages beside. */
const anySession: fc.Arbitrary<SavedSession> = fc
  .record({
    P: fc.integer({ min: 1, max: 9 }),
    length: fc.nat(60),
    more: fc.nat(3),
    policy: fc.record({
      name: fc.string(),
      sinks: fc.nat(12),
      window: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constant(POSITIVE_INFINITY)),
    }),
    windows: fc.array(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constant(POSITIVE_INFINITY)), {
      minLength: 1,
      maxLength: 4,
    }),
    layers: fc.integer({ min: 4, max: 9 }),
    keys: fc.constantFrom("rotated" as const, "raw" as const),
    kv: fc.constantFrom("f32" as const, "f16" as const, "q8_0" as const, "q4_0" as const),
    pageBytes: fc.integer({ min: 1, max: 40 }).map((half) => 2 * half),
    kept: fc.array(fc.boolean(), { minLength: 61, maxLength: 61 }),
    chat: fc.option(
      fc.record(
        {
          messages: fc.array(
            fc.record({
              role: fc.constantFrom("system" as const, "user" as const, "assistant" as const),
              content: anyText,
            }),
          ),
          spoken: fc.record({ rendered: fc.array(anyText), guard: anyText }),
        },
        { requiredKeys: ["messages"] },
      ),
      { nil: undefined },
    ),
    model: anyText,
    id: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  })
  .map(({ P, length, more, policy, windows, layers, kept, chat, id, ...made }) => {
    const { keys, kv, pageBytes, model } = made;
    const pages = windows.map((window, group) => {
      const seen = { ...policy, window: Math.min(policy.window, window) };
      const firsts = Array.from({ length: Math.ceil(length / P) }, (_, page) => page * P);
      return firsts.filter((first) => {
        const places = Array.from({ length: P }, (_, i) => first + i);
        return places.some((key) => isVisible(seen, key, length)) || kept[first + group];
      });
    });
    const groups = windows.map((window, group) => ({
      layers: Array.from({ length: layers }, (_, i) => i).filter(
        (i) => i % windows.length === group,
      ),
      window,
    }));
    const fingerprint = id.toString(16).padStart(64, "0");
    return {
      madeBy: { fingerprint, model, policy, keys, kv, pageSize: P, pageBytes, groups },
      ids: Uint32Array.from({ length: length + more }, (_, i) => (id + i) >>> 0),
      length,
      pages,
      ...(chat === undefined ? {} : { chat }),
    };
  });

describe("a session file", () => {
  test("gives back what was written, whatever the session", async () => {
    await fc.assert(
      fc.asyncProperty(anySession, async (session) => {
        const content = contentOf(session);
        const bytes = await fileOf(session, content);
        const read = await readAll(new CountingSource(bytes));
        expect(read.session).toEqual(session);
        expect(read.parts.map(({ bytes }) => bytes)).toEqual(content);
        expect(read.parts.map(({ bytes: _, ...part }) => part)).toEqual(partsOf(session));
      }),
      { numRuns: 300 },
    );
  });

  test("is as its description says", async () => {
    await fc.assert(
      fc.asyncProperty(anySession, async (session) => {
        const written = await fileOf(session);
        const { length, header } = frontOf(written);
        expect(length).toEqual([1, header.length, session.ids.length]);
        expect(JSON.parse(new TextDecoder().decode(header))).toEqual(jsonOf(session));
        const { ids } = session;
        expect(written).toEqual(forge({ json: header, ids, parts: contentOf(session) }));
      }),
      { numRuns: 100 },
    );
  });

  test("has parts of more than a MiB, in which every byte counts", async () => {
    const pageBytes = 2 * (2 ** 20 + 2 ** 19);
    const large = {
      ...session,
      madeBy: { ...madeBy, pageBytes, groups: [{ layers: [7], window: 5 }] },
      pages: [[0, 12, 16]],
    };
    const parts = contentOf(large);
    const bytes = await fileOf(large, parts);
    const described = forge({ json: frontOf(bytes).header, ids: large.ids, parts });
    expect(Buffer.compare(bytes, described)).toBe(0);
    const read = await readAll(new CountingSource(bytes));
    expect(read.parts.every((part, i) => Buffer.compare(part.bytes, parts[i]!) === 0)).toBe(true);
    const end = bytes.length - 32;
    for (const at of [1, 2 ** 20, 2 ** 20 + 1, 2 ** 21 + 5, 4 * 2 ** 20]) {
      const changed = bytes.slice();
      changed[end - at]! ^= 0x10;
      await expectRefused(changed, `byte ${at} from the end`, /values of layer 7 was changed/);
    }
  });

  test("is little beside its pages: 64 tokens of a small model need less than 1.1 times their bytes", async () => {
    const layers = Array.from({ length: 8 }, (_, i) => i);
    const pageBytes = 2 * 2 * 64 * 16 * 2; // keys and values, 2 heads of 64, 16 tokens, f16
    const small: SavedSession = {
      madeBy: {
        ...madeBy,
        pageSize: 16,
        pageBytes,
        groups: [{ layers, window: POSITIVE_INFINITY }],
      },
      ids: new Uint32Array(64).fill(49151),
      length: 64,
      pages: [[0, 16, 32, 48]],
    };
    const pages = 8 * 4 * pageBytes;
    const { length } = await fileOf(small);
    expect(length).toBeGreaterThan(pages);
    expect(length).toBeLessThan(1.1 * pages);
  });

  test("is written part by part: each is asked for after the one before was written", async () => {
    const content = contentOf(session);
    const events: unknown[] = [];
    async function* parts() {
      for (const [i, part] of content.entries()) {
        events.push(i);
        yield part;
      }
    }
    await writeSession(session, parts(), async (bytes) => {
      // The array itself and not a copy: one part is in memory at a time.
      events.push(content.includes(bytes) ? "part" : bytes.length === 32 ? "seal" : "header");
    });
    const oneByOne = content.flatMap((_, i) => [i, "part", "seal"]);
    expect(events).toEqual(["header", "seal", ...oneByOne]);
  });

  test("is read part by part: none is read before it is asked for", async () => {
    const bytes = await fileOf(session);
    const source = new CountingSource(bytes);
    const file = await SessionFile.open(source);
    const sealedBytes = partsOf(session).map(({ byteLength }) => byteLength + 32);
    const ofParts = sealedBytes.reduce((a, b) => a + b);
    expect(source.total).toBe(20 + bytes.length - ofParts); // the lengths are read twice
    let expected = source.total;
    for await (const part of file.parts()) {
      expected += part.byteLength + 32;
      expect(source.total).toBe(expected);
      expect(part.bytes.buffer.byteLength).toBe(part.byteLength + 32);
    }
    expect(expected).toBe(20 + bytes.length);
  });

  test("gives no part that was changed, but those before it", async () => {
    const bytes = await fileOf(session);
    const parts = partsOf(session);
    let at = bytes.length;
    for (const [i, { layer, of, byteLength }] of [...parts.entries()].reverse()) {
      at -= byteLength + 32;
      const changed = bytes.slice();
      changed[at]! ^= 1;
      const file = await SessionFile.open(new CountingSource(changed));
      const given: unknown[] = [];
      const reading = (async () => {
        for await (const part of file.parts()) given.push(part.bytes);
      })();
      await expect(reading).rejects.toThrow(
        `my.session: the session is damaged: its part with the ${of} of layer ${layer} was changed. Save it again, or use another copy.`,
      );
      expect(given).toEqual(contentOf(session).slice(0, i));
    }
  });

  test("cannot be written with other parts, or of a session that contradicts itself", async () => {
    const parts = contentOf(session);
    const refused: [string, SavedSession, Uint8Array[], RegExp][] = [
      ["too few", session, parts.slice(1).slice(0, -1), /part|should have/],
      ["one missing", session, parts.slice(0, -1), /ends after part 5: values of layer 1 should/],
      ["one more", session, [...parts, parts[0]!], /part 7 .*there should be no more/],
      [
        "another size",
        session,
        [parts[0]!.subarray(1)],
        /part 1 .* 47 bytes: keys of layer 0 should have 48/,
      ],
      [
        "length",
        { ...session, length: 22 },
        [],
        /^The session cannot be saved: it has pages of 22 .*[.]$/,
      ],
      [
        "page",
        { ...session, pages: [[0], [0]] },
        [],
        /cannot be saved: pages\[0\] lack the page at 8/,
      ],
      [
        "name",
        { ...session, madeBy: { ...madeBy, fingerprint: "?" } },
        [],
        /cannot be saved: .*64 hexadecimal/,
      ],
      [
        "chat",
        { ...session, chat: { messages: [{ role: "user", content: "x".repeat(2 ** 24) }] } },
        [],
        /cannot be saved: its conversation has 1677\d+ bytes as JSON, at most 16777216 can be/,
      ],
    ];
    for (const [what, session, parts, message] of refused) {
      await expect(fileOf(session, parts), what).rejects.toThrow(message);
    }
    await expect(fileOf(refused[4]![1], [])).rejects.toThrow(UserError);
  });

  test("is left when pages or the disk fail", async () => {
    let isClosed = false;
    async function* parts() {
      try {
        yield* contentOf(session);
      } finally {
        isClosed = true;
      }
    }
    let writes = 0;
    const writing = writeSession(session, parts(), async () => {
      if (++writes === 6) throw new UserError("the disk is full");
    });
    await expect(writing).rejects.toThrow("the disk is full");
    expect(isClosed).toBe(true);
    async function* lost(): AsyncGenerator<Uint8Array> {
      yield contentOf(session)[0]!;
      throw new Error("the device was lost");
    }
    await expect(writeSession(session, lost(), async () => {})).rejects.toThrow("device was lost");
  });
});

/** The lengths, and the JSON, of a file. */
function frontOf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = [8, 12, 16].map((at) => view.getUint32(at, true));
  return { length, header: bytes.slice(20, 20 + length[1]!) };
}

describe("a damaged file is refused", () => {
  test("if any bit of it changed", async () => {
    const bytes = await fileOf(session);
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 << ((at * 5) % 8);
      await expectRefused(changed, `byte ${at}`);
    }
  });

  test("if it was cut off anywhere, or has more", async () => {
    const bytes = await fileOf(session);
    for (let length = 0; length < bytes.length; length++) {
      await expectRefused(bytes.slice(0, length), `${length} bytes`);
    }
    for (const more of [1, 4, 32, 80, 10000]) {
      await expectRefused(Buffer.concat([bytes, new Uint8Array(more)]), `${more} more`);
    }
    await expectRefused(Buffer.concat([bytes, bytes]), "twice");
  });

  test("if parts changed places, are of another file, or bytes were replaced", async () => {
    const bytes = await fileOf(session);
    const size = partsOf(session)[0]!.byteLength + 32; // keys and values of layers 0 and 2
    const start = bytes.length - 4 * size - 2 * (partsOf(session)[4]!.byteLength + 32);
    const swapped = bytes.slice();
    swapped.copyWithin(start, start + size, start + 2 * size);
    swapped.set(bytes.subarray(start, start + size), start + size);
    await expectRefused(swapped, "swapped", /keys of layer 0 was changed/);

    const other = await fileOf({ ...session, ids: session.ids.map((id) => id + 1) });
    const mixed = Buffer.concat([bytes.subarray(0, start), other.subarray(start)]);
    expect(mixed.length).toBe(bytes.length);
    await expectRefused(mixed, "another file's", /keys of layer 0 was changed/);

    await fc.assert(
      fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.uint8Array({ minLength: 1, maxLength: 90 }),
        async (at, replaced) => {
          const changed = bytes.slice();
          changed.set(replaced.subarray(0, bytes.length - at), at);
          fc.pre(Buffer.compare(changed, bytes) !== 0);
          await expectRefused(changed, `from ${at} on`);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("if it is something else", async () => {
    for (const text of ["", "GGUF", "DAWNINDX and more than 20 bytes", "{}".repeat(100)]) {
      await expectRefused(Buffer.from(text), text, /is not a session.*Name a file/);
    }
    const { ids } = session;
    const json = jsonOf(session);
    await expectRefused(
      forge({ version: 2, json, ids, parts: contentOf(session) }),
      "version",
      /has version 2, and version 1 can be read[.] Save it again[.]$/,
    );
  });
});

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Path = readonly (string | number)[];

function pathsOf(value: Json, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([name, item]) => pathsOf(item, [...path, name]))];
}

/** A copy in which the value at a path is another; undefined removes it. */
function replaced(value: Json, path: Path, by: Json | undefined): Json | undefined {
  if (path.length === 0) return by;
  const [name, ...rest] = path as [string, ...Path];
  const copy = structuredClone(value) as { [name: string]: Json };
  const item = replaced(copy[name]!, rest, by);
  if (item === undefined && !Array.isArray(copy)) delete copy[name];
  else copy[name] = item as Json;
  return copy;
}

const WRONG: readonly (Json | undefined)[] = [
  ...[undefined, null, true, "", "x", "0", "rotated", 0, -1, 0.5, 1, 2, 3, 7, 17, 19.5],
  ...[1e300, 2 ** 53, 2 ** 40, [], [[]], [0], [[0, 8, 12, 16]], {}, { length: 1 }],
  ...[{ messages: [] }, { name: "full", sinks: 0, window: null }],
];

/**
 * What other values a field may have: texts are free; a chat, its parts and the last tokens may be missing; layers and windows are those of
 * another engine, if the pages are all that the next token sees.
 */
function kindOf(path: string, value: Json | undefined): "text" | "less" | "make" | "wrong" {
  const texts = /^(madeBy.model|.*policy.name|.*content|.*rendered.\d|.*guard)$/;
  if (texts.test(path) && typeof value === "string") return "text";
  if (/^chat(.spoken)?$/.test(path) && value === undefined) return "less";
  if (/^chat.(messages|spoken.rendered)$/.test(path) && `${value}` === "") return "less";
  if (path === "length" && value === 17) return "less"; // within the last page
  if (path === "chat" && JSON.stringify(value) === '{"messages":[]}') return "less";
  if (typeof value === "number" && /(sinks|window|layers.\d)$/.test(path)) return "make";
  return "wrong";
}

describe("a forged file with right seals", () => {
  const { ids } = session;
  const parts = contentOf(session);
  const json = jsonOf(session) as unknown as Json;
  const forgedBy = (path: string, by: Json | undefined) =>
    replaced(json, path.split("."), by) as object;

  test("is refused if a field has a wrong type or size, and never read as something else", async () => {
    const counts = { refused: 0, text: 0, less: 0, make: 0, wrong: 0 };
    for (const path of pathsOf(json)) {
      for (const wrong of WRONG) {
        const forged = replaced(json, path, wrong) ?? null;
        if (JSON.stringify(forged) === JSON.stringify(json)) continue;
        const what = `${path.join(".")}: ${JSON.stringify(wrong)}`;
        const bytes = forge({ json: padded(JSON.stringify(forged)), ids, parts });
        const outcome = await outcomeOf(bytes);
        if (outcome instanceof Error) {
          await expectRefused(bytes, what);
          counts.refused++;
          continue;
        }
        const kind = kindOf(path.join("."), wrong);
        expect(kind, what).not.toBe("wrong");
        counts[kind]++;
        const { session } = outcome as Awaited<ReturnType<typeof readAll>>;
        expect(jsonOf(session), what).toEqual(forged);
        const file = await SessionFile.open(new CountingSource(bytes));
        const check = () => file.checkMadeBy(madeBy);
        if (kind === "make") expect(check, what).toThrow(SessionFileError);
        else expect(check, what).not.toThrow();
      }
    }
    expect(counts.refused).toBeGreaterThan(800);
    expect(
      Object.values(counts)
        .slice(1, 4)
        .every((count) => count > 3),
    ).toBe(true);
  });

  test("is refused if its lengths or its JSON are not possible", async () => {
    const text = JSON.stringify(json);
    const { length } = padded(text);
    const largest = 2 ** 32 - 1;
    for (const jsonBytes of [
      0,
      1,
      3,
      4,
      length - 4,
      length + 4,
      length + 2,
      2 ** 24 + 4,
      largest,
    ]) {
      await expectRefused(forge({ json: padded(text), jsonBytes, ids, parts }), `J ${jsonBytes}`);
    }
    // These have seals for the lengths that they claim, so that only the lengths are wrong.
    const impossible = / bytes of JSON and 21 tokens cannot be in its \d+ bytes/;
    const odd = Buffer.from(`${text}${" ".repeat(5 - (Buffer.byteLength(text) % 4))}`);
    await expectRefused(forge({ json: odd, ids, parts }), "not a multiple of 4", impossible);
    const large = padded(text + " ".repeat(2 ** 24));
    await expectRefused(forge({ json: large, ids, parts }), "beyond 16 MiB", impossible);
    for (const idCount of [0, 1, 20, 22, 200, 2 ** 30, largest]) {
      await expectRefused(forge({ json: padded(text), idCount, ids, parts }), `T ${idCount}`);
    }
    const unreadable = [
      ...[
        "",
        "null",
        "[]",
        "1",
        '"a"',
        "{",
        text.slice(0, -1),
        `${text}}`,
        `${text},`,
        text + text,
      ],
      ...[text.replace('"length"', "length"), text.replace("24", "NaN"), text.replace("24", "24n")],
    ];
    for (const text of unreadable) {
      await expectRefused(forge({ json: padded(text), ids, parts }), text);
    }
    const invalid = padded(text);
    invalid[invalid.indexOf("ß".codePointAt(0)! & 0xff)] = 0xff; // no byte of UTF-8
    invalid[text.indexOf("a model")] = 0xff;
    await expectRefused(forge({ json: invalid, ids, parts }), "UTF-8", /its header is not JSON/);
  });

  test("is refused if its pages are not those of its tokens", async () => {
    const cases: [string, Json, RegExp][] = [
      ["pages", [[0, 8, 12, 16]], /pages of 1 groups of layers, not 2/],
      ["pages.0", [0, 12, 8, 16], /pages\[0\] are not ascending multiples of 4 below 19/],
      ["pages.0", [0, 8, 8, 16], /are not ascending/],
      ["pages.0", [0, 9, 12, 16], /are not ascending multiples of 4/],
      ["pages.0", [0, 12, 16, 20], /below 19/],
      ["pages.0", [4, 8, 12, 16], /pages\[0\] lack the page at 0, which the next token sees/],
      ["pages.0", [0, 4, 12, 16], /lack the page at 8/],
      ["pages.1", [0, 8, 12], /pages\[1\] lack the page at 16/],
      ["pages.1", [], /lack the page at 0/],
      ["pages.1", [0, 8, 12, 16], /its pages should have \d+ bytes, and have \d+/],
      ["length", 22, /pages of 22 tokens, but 21 tokens only/],
      ["madeBy.groups.0.layers", [0, 1], /it has a layer twice/],
      ["madeBy.groups.0.layers", [0], /its pages should have/],
      ["madeBy.groups.0.layers", [], /a group without layers/],
      ["madeBy.groups", [], /it has no layers/],
      ["madeBy.pageBytes", 25, /pageBytes 25: expected an even number/],
      ["madeBy.pageBytes", 26, /its pages should have/],
      ["madeBy.pageBytes", 2 ** 53 - 2, /its pages should have/],
    ];
    for (const [path, value, message] of cases) {
      await expectRefused(forge({ json: forgedBy(path, value), ids, parts }), path, message);
    }
  });

  test("needs little time and memory, however it is nested, named and grouped", async () => {
    const deep = "[".repeat(10 ** 6) + "]".repeat(10 ** 6);
    const nested = padded(JSON.stringify(json).replace('"chat":', `"chat":${deep},"x":`));
    await expectRefused(forge({ json: nested, ids, parts }), "nested", /more than 8 levels deep/);
    // A long name is compared with no option: an edit distance would take its length in rows.
    const long = "a".repeat(2 ** 23);
    const named = forge({ json: { ...(json as object), [long]: 0 }, ids, parts });
    await expectRefused(named, "named", /Unknown option "a+…" of the session: there are madeBy/);
    const valued = forge({ json: forgedBy("madeBy.kv", long), ids, parts });
    await expectRefused(valued, "valued", /Invalid kv "a+…": expected one of f32/);
    // Brackets within texts are no nesting.
    const text = `${'\\"'.repeat(3)}${"[{".repeat(40)}`;
    const content = forgedBy("chat.messages.0.content", text);
    expect(await outcomeOf(forge({ json: content, ids, parts }))).not.toBeInstanceOf(Error);
    // 20,000 groups times 200,000 pages that none of them needs would be 4e9 steps.
    const groups = Array.from({ length: 20000 }, (_, layer) => ({ layers: [layer], window: 1 }));
    const policy = { name: "window:1", sinks: 0, window: 1 };
    const made = { ...jsonOf(session).madeBy, groups, policy, pageSize: 1 };
    const grouped = { madeBy: made, length: 200000, pages: groups.map(() => []) };
    const empty = groups.flatMap(() => [new Uint8Array(), new Uint8Array()]);
    const bytes = forge({ json: grouped, ids: new Uint32Array(200000), parts: empty });
    const file = await SessionFile.open(new CountingSource(bytes));
    expect(file.session.pages.length).toBe(20000);
  });

  test("is refused if a part is beyond the memory, as in a file that is mostly holes", async () => {
    const pageBytes = 2 ** 47;
    const layers = { layers: [0], window: null };
    const made = {
      ...jsonOf(session).madeBy,
      groups: [layers],
      policy: { ...madeBy.policy, window: null },
    };
    const json = { madeBy: { ...made, pageBytes }, length: 4, pages: [[0]] };
    const bytes = forge({ json, ids, parts: [] });
    const source = new CountingSource(bytes, bytes.length + pageBytes + 64);
    const reading = SessionFile.open(source).then((file) => file.parts().next());
    await expect(reading).rejects.toThrow(SessionFileError);
    await expect(reading).rejects.toThrow(
      /has 70368744177696 bytes in one piece, more than there is/,
    );
  });
});

describe("a session of another make is refused in one line, which names the difference", () => {
  const fingerprint = "f".repeat(64);
  const full = { name: "full", sinks: 0, window: POSITIVE_INFINITY };
  test.each<[string, Partial<MadeBy>, RegExp]>([
    [
      "model",
      { fingerprint, model: "b" },
      /made with the model "a model", and this is "b"[.] Load/,
    ],
    [
      "model and policy",
      { fingerprint, model: "b", policy: full },
      /made with the model "a model"/,
    ],
    [
      "policy",
      { fingerprint, policy: full },
      /attention policy "sinks:2\+9" \(2 sinks, a window of 9\), and here it is "full" \(0 sinks, all tokens\)[.] Use/,
    ],
    [
      "policy alone",
      { policy: { ...madeBy.policy, sinks: 3 } },
      /here it is .* \(3 sinks, a window of 9/,
    ],
    [
      "rotations",
      { fingerprint },
      /other weights of the model "a model", or with another RoPE scaling/,
    ],
    [
      "kv",
      { kv: "q8_0" },
      /made with kv f16, and this engine has kv q8_0[.] Load the model with kv f16/,
    ],
    [
      "pageSize",
      { pageSize: 8, pageBytes: 48 },
      /with pageSize 4, and this engine has pageSize 8[.] Load/,
    ],
    ["keys", { keys: "raw" }, /made with keys rotated, and this engine has keys raw[.] Load/],
    [
      "pageBytes",
      { pageBytes: 48 },
      /its pages have 24 bytes, and those of this engine have 48[.]/,
    ],
    [
      "groups",
      { groups: [{ layers: [0, 1, 2], window: POSITIVE_INFINITY }] },
      /layers are grouped by other/,
    ],
    [
      "windows",
      { groups: madeBy.groups.map(({ layers }) => ({ layers, window: POSITIVE_INFINITY })) },
      /layers are grouped by other windows/,
    ],
  ])("%s", async (_, difference, message) => {
    const file = await SessionFile.open(new CountingSource(await fileOf(session)));
    const check = (here: MadeBy) => () => file.checkMadeBy(here);
    expect(check({ ...madeBy, ...difference })).toThrow(SessionFileError);
    expect(check({ ...madeBy, ...difference })).toThrow(message);
    expect(check({ ...madeBy, ...difference })).toThrow(
      /^my[.]session: the session cannot be used here: .+[.]$/,
    );
    // The same model under another name of its file, and the same policy under another name.
    const policy = { ...madeBy.policy, name: "mine" };
    expect(check({ ...madeBy, model: "b", policy })).not.toThrow();
  });
});
