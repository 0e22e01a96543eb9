/**
 * `general.sampling.*`: how the makers of a model would have its tokens chosen. Their keys are
 * llama.cpp's; where a user says nothing, they hold in place of the defaults.
 */
import { number, type Reader, whole } from "../../option-reader.ts";
import type { MetadataValue } from "../gguf/gguf.ts";
import { Metadata } from "../gguf/metadata.ts";
import { SAMPLING_READERS, type SamplingOptions } from "./sampling-options.ts";

const PREFIX = "general.sampling.";

type NumberOption = "temperature" | "topK" | "topP" | "minP" | "repeatPenalty" | "penaltyLastN";

/** By key: the option, and what it may be. */
const KEYS: Readonly<Record<string, readonly [NumberOption, Reader<number>]>> = {
  temp: ["temperature", SAMPLING_READERS.temperature],
  // All tokens are kept by -1, too, as many programs have it.
  top_k: ["topK", (value, name) => Math.max(0, whole(-1)(value, name))],
  top_p: ["topP", SAMPLING_READERS.topP],
  min_p: ["minP", SAMPLING_READERS.minP],
  penalty_repeat: ["repeatPenalty", SAMPLING_READERS.repeatPenalty],
  penalty_last_n: ["penaltyLastN", SAMPLING_READERS.penaltyLastN],
};

/** What a file says of sampling. */
export interface FileSampling {
  readonly options: Pick<SamplingOptions, NumberOption>;
  /** Keys of samplers that there are not here, such as `general.sampling.mirostat`. */
  readonly unused: readonly string[];
}

/** Throws a `UserError` that names the key whose value is refused. */
export function readFileSampling(file: {
  readonly name: string;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
}): FileSampling {
  const metadata = new Metadata(file);
  const options: Partial<Record<NumberOption, number>> = {};
  const unused: string[] = [];
  for (const key of file.metadata.keys()) {
    if (!key.startsWith(PREFIX)) continue;
    const name = key.slice(PREFIX.length);
    if (!Object.hasOwn(KEYS, name)) {
      unused.push(key);
      continue;
    }
    const [option, read] = KEYS[name]!;
    const value = number(Number.NEGATIVE_INFINITY)(metadata.number(key), key);
    options[option] = read(asTyped(value), key);
  }
  return { options, unused };
}

/** The shortest number of the same f32: 0.6 is stored as 0.6000000238. */
function asTyped(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const shorter = Number(value.toPrecision(digits));
    if (Math.fround(shorter) === value) return shorter;
  }
  return value;
}
