import type { Setting } from "../options.ts";
import type { SamplingOptions } from "../sampler/sampling-options.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ModelConfig } from "./config.ts";

/**
 * What requests are checked against: known from the header of a file, before weights are loaded.
 */
export interface OpenedModel {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  /** What the file would have for options of sampling that a request leaves out. */
  readonly samplingDefaults: SamplingOptions;
}
